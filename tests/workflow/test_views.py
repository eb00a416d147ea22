"""params.yaml, dvc.yaml and the Snakefile say the same."""

import json
import re
from itertools import filterfalse
from pathlib import Path

import pytest

from hier.config.compose import compose
from hier.config.settings import PARAMS, Settings, locate_key
from hier.dvc_view import dvc_yaml

ROOT = Path(__file__).parents[2]
SUITE = ("suite=smoke", "methods=[untrained,hier]", "seeds=[0,1]")

LIST_DVC_STAGES = """
import json
from dvc.repo import Repo

with Repo(".") as repo:
    print(json.dumps({
        stage.addressing: {
            "cmd": stage.cmd,
            "deps": [d.def_path for d in stage.deps if d.protocol == "local" and d.hash_name != "params"],
            "params": [[d.def_path, *d.params] for d in stage.deps if d.hash_name == "params"],
            "outs": [o.def_path for o in stage.outs],
            "persistent": [o.def_path for o in stage.outs if o.persist],
            "metrics": [o.def_path for o in stage.outs if o.metric],
        }
        for stage in repo.index.stages
    }))
"""


def test_committed_params_and_dvc_yaml_are_the_composition():
    suite = compose(["suite=demo"], ROOT / "conf")
    mend = "write them anew with: hier compose suite=demo"
    params = Settings.of(suite)
    for path, text in params.texts().items():
        assert (ROOT / path).read_text() == text, mend
    assert (ROOT / "dvc.yaml").read_text() == dvc_yaml(params), mend
    assert {p.relative_to(ROOT) for p in (ROOT / "params").rglob("*.yaml")} < {*params.files()}, mend


@pytest.fixture(scope="module")
def project(new_project):
    project = new_project("views")
    project.run("hier", "compose", *SUITE)
    return project


@pytest.fixture(scope="module")
def dvc_stages(project):
    return json.loads(project.python(LIST_DVC_STAGES))


@pytest.fixture(scope="module")
def snakemake_jobs(project):
    """Per output file: rule, inputs and command of its job, as a dry run from clean prints them."""
    said = project.run("snakemake", "--cores", "1", "--dry-run", "--printshellcmds")
    jobs, job = {}, {}
    for line in (said.stdout + said.stderr).splitlines():
        key, _, value = line.strip().partition(": ")
        if line.startswith(("rule ", "localrule ")):
            job = {"rule": line.split()[1].rstrip(":")}
        elif key == "input":
            job["inputs"] = value.split(", ")
        elif key == "output":
            jobs |= dict.fromkeys(value.split(", "), job)
        elif key == "Shell command":
            job["cmd"] = value.strip()
    return jobs


def files(project, paths):
    """What Snakemake sees of DVC's dependencies: of a folder of code or tables, its files."""
    for path in paths:
        folder = project.path(path)
        if folder.is_dir():
            yield from (
                str(p.relative_to(project.folder))
                for p in folder.rglob("*")
                if p.is_file() and "__pycache__" not in p.parts
            )
        else:
            yield path


@pytest.mark.engines
def test_same_stages_commands_inputs_and_outputs(project, dvc_stages, snakemake_jobs):
    # 1 dataset × (download, prepare), 4 runs × (train, embed, evaluate, views), tabulate, report
    assert len(dvc_stages) == 2 + 4 * 4 + 2
    made = sorted(o for s in dvc_stages.values() for o in s["outs"] if not is_record(o))
    assert made == sorted(snakemake_jobs)
    for name, stage in dvc_stages.items():
        for output in filterfalse(is_record, stage["outs"]):
            job = snakemake_jobs[output]
            assert job["cmd"] == stage["cmd"]
            assert job["rule"] == stage_of(name)
            assert sorted(job["inputs"]) == sorted(files(project, stage["deps"])), name


def stage_of(name):
    """The stage of a name of DVC's: of a suite's stages it has a hyphen in place of the @."""
    return re.split("[@-]", name)[0]


def is_record(path):
    return path.endswith(".record.json")


@pytest.mark.engines
def test_each_record_is_an_output_to_dvc_and_none_to_snakemake(dvc_stages, snakemake_jobs):
    """So that dvc.lock holds its hash and `dvc pull` brings it; Snakemake would remove it first."""
    for name, stage in dvc_stages.items():
        (record,) = filter(is_record, stage["outs"])
        assert Path(record).name == f"{stage_of(name)}.record.json"
        assert record not in snakemake_jobs


@pytest.mark.engines
def test_dvc_leaves_every_output_in_place_and_knows_the_metrics(dvc_stages):
    """A stage that DVC calls may find its outputs current, and then they must be there."""
    for name, stage in dvc_stages.items():
        assert stage["persistent"] == stage["outs"]
        metrics = [f"runs/{name.partition('@')[2]}/metrics.json"] if name.startswith("evaluate") else []
        assert stage["metrics"] == metrics


@pytest.mark.engines
def test_both_engines_watch_the_same_parameters(project, dvc_stages):
    """Snakemake's rules take theirs from hier.pipeline too; DVC must list exactly these keys."""
    from hier.jobs import jobs

    params = Settings.read(project.path(PARAMS))
    for job in jobs(params):
        expected = {}
        for key in job.params:
            path, inner = locate_key(key)
            expected.setdefault(str(path), set()).add(inner)
        listed = {file: set(keys) for file, *keys in dvc_stages[job.dvc_name]["params"]}
        assert listed == expected, job.name
