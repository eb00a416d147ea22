"""What docs/extending.md adds, added to a project that has results: every earlier result stays current.

The results are made up; what counts is which of them the ledger still calls current.
"""

import json

import pytest

pytestmark = pytest.mark.engines

MAKE = """
from pathlib import Path
from fakes.ledger import make_ledger
make_ledger()
Path("dvc.lock").unlink()  # DVC writes it
"""
LOSS = '''"""The mean cosine of images of different classes."""

from typing import ClassVar, Literal

from hier.config.run import Loss


class Settings(Loss):
    name: Literal["apart"]

    paper_name: ClassVar[str] = "Apart"
    learns_proxies: ClassVar[bool] = False
    on_sphere: ClassVar[bool] = True


def build(settings, **_):
    from torch import nn

    class Apart(nn.Module):
        def forward(self, z, labels):
            return (z @ z.T)[labels[:, None] != labels].mean()

    return Apart()
'''
POOLING = '''"""Global maximum."""

from torch import nn


class Maximum(nn.Module):
    def forward(self, maps):
        return maps.amax((2, 3))


def pool(backbone, name):
    backbone.global_pool = Maximum()
'''
LAYOUT = '''"""One file for each image, its class before the first underscore."""

from hier.data.layouts import Row, to_table


def read(root, dataset):
    files = sorted(root.iterdir())
    return to_table(Row(p.name, 0, p.name.split("_")[0], None, "train", p.name) for p in files)
'''
MEASURE = """
    Measure("error", "error@{}", lambda of: {k: 1 - v for k, v in of.retrieval.class_recall([1]).items()}),
"""
STAGE = """
        Stage(
            "lengths",
            scope="run",
            help="Note how long RUN's embeddings are → runs/RUN/lengths.txt",
            inputs=(EMBEDDINGS,),
            outputs=("runs/{run}/lengths.txt",),
            params=(),
            code=("ledger/artifacts.py",),
            packages=("torch",),
        ),
"""
OF_STAGE = '''"""lengths: the norm of each embedding."""

from pathlib import Path

from hier.files.atomic import write_text
from hier.ledger.artifacts import read_tensors


def run(job, suite, content_key):
    norms = read_tensors(Path(job.inputs[0]))["embedding"].norm(dim=1)
    write_text(Path(job.outputs[0]), "".join(f"{norm:.4f}\\n" for norm in norms))
'''
SUITE = """# @package _global_
suite: new
matrix:
  - dataset: smoke
    backbone: BACKBONE
    recipe: smoke
    methods: [METHOD]
    dim: 16
    seeds: [0]
"""


@pytest.fixture(scope="module")
def made(new_project):
    """Made-up results of the suite smoke, entered and committed."""
    project = new_project("recipes")
    project.run("hier", "compose", "suite=smoke", "methods=[pa,hier]")
    project.python(MAKE)
    project.run("hier", "adopt")
    project.commit("results")
    return project


@pytest.fixture
def project(made):
    yield made
    made.run("git", "checkout", "--quiet", "--", ".")
    made.run("git", "clean", "-dfq", "src", "conf", "params")


def write(project, path, text):
    project.path(path).write_text(text)


def insert(project, path, before, text):
    file = project.path(path)
    assert file.read_text().count(before) == 1
    file.write_text(file.read_text().replace(before, text + before))


def stale(project):
    """The stages of which `hier verify` has something to say, without those of the suite `new`."""
    done = project.run("hier", "verify", "--json", check=False)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    suites = said if isinstance(said, list) else [said]
    (smoke,) = (suite for suite in suites if suite["suite"] == "smoke")
    return {job["job"].partition("@")[0] for job in smoke["jobs"]}


def compose(project, suites, *overrides):
    project.run("hier", "compose", f"suite={suites}", *overrides)


def test_before_anything_is_added_all_is_current(project):
    assert stale(project) == set()


def test_a_loss(project):
    write(project, "src/hier/losses/apart.py", LOSS)
    write(project, "conf/loss/apart.yaml", "# Apart.\nname: apart\n")
    write(
        project,
        "conf/suite/new.yaml",
        SUITE.replace("BACKBONE", "test_resnet").replace("METHOD", "apart"),
    )
    compose(project, "new")
    assert "loss: apart" in project.path("params.yaml").read_text()
    compose(project, "smoke", "methods=[pa,hier]")
    assert stale(project) == set()


def test_a_backbone_with_its_own_pooling(project):
    write(project, "src/hier/models/pooling/maximum.py", POOLING)
    text = project.path("conf/backbone/test_resnet.yaml").read_text()
    text = text.replace("name: test_resnet", "name: new_net") + "pooling: maximum\n"
    write(project, "conf/backbone/new_net.yaml", text)
    write(project, "conf/suite/new.yaml", SUITE.replace("BACKBONE", "new_net").replace("METHOD", "pa"))
    compose(project, "new")
    assert "pooling: maximum" in project.path("params.yaml").read_text()
    compose(project, "smoke", "methods=[pa,hier]")
    assert stale(project) == set()


def test_a_layout(project):
    write(project, "src/hier/data/layouts/flat.py", LAYOUT)
    text = project.path("conf/dataset/smoke.yaml").read_text()
    text = text.replace("name: smoke", "name: flat_smoke").replace("layout: cub", "layout: flat")
    write(project, "conf/dataset/flat_smoke.yaml", text)
    compose(project, "smoke", "dataset=flat_smoke", "methods=[pa]")
    assert "layout: flat" in project.path("params.yaml").read_text()
    compose(project, "smoke", "methods=[pa,hier]")
    assert stale(project) == set()


def test_a_measure(project):
    """Only evaluate and later are stale; that it is everywhere, results/test_new_measure.py sees."""
    file = project.path("src/hier/results/measures.py")
    before, name, after = file.read_text().partition("MEASURES = (\n")
    file.write_text(before + name + MEASURE.lstrip("\n") + after)
    assert stale(project) == {"evaluate", "tabulate", "report"}


def test_a_stage_between_embed_and_evaluate(project):
    """The page shows the way of every number through all stages, so it alone is made anew."""
    insert(
        project,
        "src/hier/pipeline.py",
        '        Stage(\n            "evaluate",',
        STAGE.lstrip("\n"),
    )
    write(project, "src/hier/stages/lengths.py", OF_STAGE)
    compose(project, "smoke", "methods=[pa,hier]")
    assert stale(project) == {"report"}
    assert "lengths" in project.run("hier", "--help").stdout
    assert "lengths@smoke-pa-test_resnet-16-s0" in project.run("dvc", "stage", "list", "--name-only").stdout
    assert "lengths" in project.run("snakemake", "--list-rules").stdout
