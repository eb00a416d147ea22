"""The pipeline as data: modules, code lists, paths, order, and dvc.yaml as a view of it."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import hier
from hier.config.compose import compose
from hier.pipeline import SRC, STAGES, dvc_yaml, job, jobs, maker

ROOT = Path(__file__).parents[1]
SOURCE = Path(hier.__file__).parent
STAGE_NAMES = ["download", "prepare", "train", "embed", "evaluate", "tabulate", "report"]

# Modules that carry settings, say what went wrong or how far one has come, and write files whole:
# a change in them changes no result.
CANNOT_CHANGE_A_RESULT = {
    "hier.errors",
    "hier.pipeline",
    "hier.progress",
    "hier.config.base",
    "hier.config.dataset",
    "hier.config.run",
    "hier.config.suite",
    "hier.data.fetch",  # what it brings is proved by its hash
    "hier.provenance.atomic",
    "hier.provenance.hashing",
    "hier.provenance.record",
}


@pytest.fixture(scope="module")
def params():
    suite = compose(["suite=smoke", "methods=[untrained,pa,hier]", "seeds=[0,1]"], ROOT / "conf")
    return suite.model_dump()


# --- stages and their code -----------------------------------------------------------------------


def test_the_stages_stand_in_the_order_of_the_data():
    assert list(STAGES) == STAGE_NAMES
    assert [stage.name for stage in STAGES.values()] == STAGE_NAMES
    assert [stage.each for stage in STAGES.values()] == [
        "dataset", "dataset", "run", "run", "run", "suite", "suite",
    ]  # fmt: skip


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_a_stage_has_a_module_with_run(name):
    assert callable(import_module(f"hier.stages.{name}").run)


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_what_a_stage_depends_on_exists(name):
    paths = STAGES[name].versioned()
    assert paths[0] == f"src/hier/stages/{name}.py"
    assert len(set(paths)) == len(paths)
    for path in paths:
        at = SOURCE / path.removeprefix(SRC) if path.startswith(SRC) else ROOT / path
        assert at.exists(), path


def covered(module, name):
    """Whether the file of a module is among the files and folders that the stage lists."""
    file = SRC + module_file(module).relative_to(SOURCE).as_posix()
    return any(file == path or file.startswith(f"{path}/") for path in STAGES[name].versioned())


def module_file(module):
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def missing(modules, name):
    """Those of `modules` that could change the stage's result and that it does not list."""
    return sorted(
        module
        for module in modules - CANNOT_CHANGE_A_RESULT
        if not covered(module, name) and not is_empty_package(module)
    )


def is_empty_package(module):
    """A package whose __init__ holds a docstring and constants alone."""
    file = module_file(module)
    if file.name != "__init__.py":
        return False
    return all(isinstance(node, ast.Expr | ast.Assign) for node in ast.parse(file.read_text()).body)


@pytest.fixture(scope="module")
def loaded():
    """The modules of hier that importing each stage loads, each in a fresh interpreter."""
    code = (
        "import json, sys; from importlib import import_module; import_module(sys.argv[1]); "
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'hier']))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = {}
    for name in STAGE_NAMES:
        done = subprocess.run(
            [sys.executable, "-c", code, f"hier.stages.{name}"],
            capture_output=True, text=True, check=True, env=environment, timeout=60,
        )  # fmt: skip
        found[name] = set(json.loads(done.stdout))
    return found


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_every_module_that_a_stage_loads_is_in_its_code_list(name, loaded):
    assert f"hier.stages.{name}" in loaded[name]
    assert missing(loaded[name], name) == []


@cache
def imports_of(module):
    """Modules of hier that a module imports anywhere, inside functions and for types included."""
    found = set()
    for node in ast.walk(ast.parse(module_file(module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {m for m in found if m.split(".")[0] == "hier" and module_file(m).exists()}


def reachable(module):
    """All modules that `module` may ever import, except through those that cannot change a result."""
    seen, todo = set(), [module]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            if here not in CANNOT_CHANGE_A_RESULT:
                todo += imports_of(here)
    return seen


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_what_a_stage_imports_late_is_in_its_code_list_too(name, loaded):
    found = reachable(f"hier.stages.{name}")
    assert found - {"hier.config.suite"}  # the walk found something
    assert missing(found, name) == []
    if name == "train":
        assert {"hier.losses.hier", "hier.losses.hyp", "hier.losses.metric"} <= found


# --- jobs ----------------------------------------------------------------------------------------


def test_jobs_stand_after_what_they_need_and_each_output_has_one_maker(params):
    made = set()
    for work in jobs(params):
        assert set(work.inputs) <= made, work.name
        assert made.isdisjoint(work.outputs), work.name
        assert len(set(work.outputs)) == len(work.outputs)
        made |= set(work.outputs)
    assert len(list(jobs(params))) == 2 * 1 + 3 * 6 + 2


def test_records_of_jobs_do_not_share_a_file(params):
    records = [work.record for work in jobs(params)]
    assert len(set(records)) == len(records)
    outputs = [Path(path) for work in jobs(params) for path in work.outputs]
    for record in records:
        assert not any(record == path or path in record.parents for path in outputs)


def test_a_job_in_full(params):
    run = "smoke-hier-test_resnet-16-s1"
    work = job("evaluate", run, params)
    assert work.name == f"evaluate@{run}"
    assert work.command == f"hier evaluate {run}"
    assert work.inputs == (
        "data/smoke/index.parquet",
        f"runs/{run}/embeddings.safetensors",
        f"runs/{run}/history.csv",
    )
    assert work.outputs == (f"runs/{run}/metrics.json",)
    assert work.record == Path(f"runs/{run}/evaluate.record.json")
    assert {f"runs.{run}.head", f"runs.{run}.evaluate", "datasets.smoke.ks"} <= set(work.params)
    work = job("tabulate", "", params)
    assert (work.name, work.command) == ("tabulate", "hier tabulate")
    assert work.inputs == tuple(f"runs/{run}/metrics.json" for run in params["runs"])
    assert work.record == Path("results/tabulate.record.json")


def test_every_parameter_of_every_job_is_a_key_of_params(params):
    for work in jobs(params):
        for key in work.params:
            node = params
            for part in key.split("."):
                node = node[part]


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/smoke/archive", "hier download smoke"),
        ("data/smoke/index.parquet", "hier prepare smoke"),
        ("data/smoke/images.npy", "hier prepare smoke"),
        ("runs/a-b-c-1-s0/model.safetensors", "hier train a-b-c-1-s0"),
        ("runs/a-b-c-1-s0/proxies.safetensors", "hier train a-b-c-1-s0"),
        ("runs/a-b-c-1-s0/history.csv", "hier train a-b-c-1-s0"),
        ("runs/a-b-c-1-s0/embeddings.safetensors", "hier embed a-b-c-1-s0"),
        ("runs/a-b-c-1-s0/metrics.json", "hier evaluate a-b-c-1-s0"),
        ("results/table.csv", "hier tabulate"),
        ("results/table.md", "hier tabulate"),
        ("results/paper_layout.csv", "hier tabulate"),
        ("results/paper_layout.md", "hier tabulate"),
        ("results/paper_layout.tex", "hier tabulate"),
        ("results/report/index.html", "hier report"),
        ("expected", "git checkout expected"),
    ],
)
def test_each_output_is_traced_to_the_command_that_makes_it(path, command):
    assert maker(path) == command


def test_every_output_of_every_job_is_traced_to_it(params):
    for work in jobs(params):
        assert {maker(path) for path in work.outputs} == {work.command}


# --- dvc.yaml ------------------------------------------------------------------------------------


def expand(text, params):
    """dvc.yaml's stages as DVC expands them: {name: (cmd, deps, params, outputs)}."""

    def filled(value, key, item):
        value = value.replace("${key}", key)
        return value.replace("${item.dataset}", (item or {}).get("dataset", "?"))

    expanded = {}
    for name, stage in yaml.safe_load(text)["stages"].items():
        if "foreach" in stage:
            over = params[stage["foreach"].removeprefix("${").removesuffix("}")]
            cells = {f"{name}@{key}": (key, item, stage["do"]) for key, item in over.items()}
        else:
            cells = {name: ("", None, stage)}
        for full, (key, item, body) in cells.items():
            assert set(body) <= {"cmd", "deps", "params", "outs", "metrics"}
            lists = (body["deps"], body["params"], body.get("outs", []) + body.get("metrics", []))
            expanded[full] = (
                filled(body["cmd"], key, item),
                *([filled(value, key, item) for value in values] for values in lists),
            )
    return expanded


def test_dvc_yaml_expanded_by_hand_is_the_list_of_jobs(params):
    ours = {
        work.name: (
            work.command,
            [*work.inputs, *work.stage.versioned()],
            list(work.params),
            list(work.outputs),
        )
        for work in jobs(params)
    }
    text = dvc_yaml(params)
    assert text.startswith("# Written by `hier compose`")
    assert expand(text, params) == ours
    assert dvc_yaml(params) == text


def test_metrics_are_metrics_to_dvc(params):
    stages = yaml.safe_load(dvc_yaml(params))["stages"]
    assert stages["evaluate"]["do"]["metrics"] == ["runs/${key}/metrics.json"]
    assert "outs" not in stages["evaluate"]["do"]
