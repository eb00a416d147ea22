"""Two suites in one workspace that share a run, with made-up results."""

from fakes.project import Project

PA, MS = "smoke-pa-test_resnet-16-s0", "smoke-ms-test_resnet-16-s0"
ONE, BOTH = "suite=smoke", "suite=[smoke,second]"
PAGES = 12  # that the reports of both share, beside the first one of each
SUITE = """# @package _global_
suite: NAME
matrix:
  - dataset: smoke
    backbone: test_resnet
    recipe: smoke
    methods: METHODS
    dim: 16
    seeds: [0]
"""
MAKE = f"""
from pathlib import Path
from fakes import ledger
make = ledger.make_output
def with_pages(path, params, job):
    make(path, params, job)
    for number in range({PAGES} if path.name == "report" else 0):
        (path / f"{{number}}.html").write_text(f"page {{number}}")
ledger.make_output = with_pages
ledger.make_ledger()
Path("dvc.lock").unlink()  # DVC writes it
"""
STAGES = {
    "download@smoke", "prepare@smoke", "tabulate-smoke", "report-smoke",
    *(f"{stage}@{run}" for run in (PA, MS) for stage in ("train", "embed", "evaluate", "views")),
}  # fmt: skip
"""Of the suite smoke, as DVC calls them."""
STAGES_OF_BOTH = STAGES | {"tabulate-second", "report-second"}


def make_two_suites(project: Project) -> None:
    """Compose and make them, enter them into dvc.lock and commit them."""
    for name, methods in (("smoke", "[pa, ms]"), ("second", "[pa]")):
        text = SUITE.replace("NAME", name).replace("METHODS", methods)
        project.path(f"conf/suite/{name}.yaml").write_text(text)
    project.run("hier", "compose", BOTH)
    project.python(MAKE)
    project.run("hier", "adopt")
    project.commit("results")
