"""The pipeline as data: modules, code lists, paths, order, and dvc.yaml as a view of it."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import hier
from fakes.settings import write_settings
from hier.config.compose import compose
from hier.dvc_view import dvc_yaml
from hier.files.hashing import Hasher
from hier.ledger.environment import versions
from hier.ledger.record import content_key, what_goes_in
from hier.pipeline import SRC, STAGES, job, jobs, maker

ROOT = Path(__file__).parents[1]
SOURCE = Path(hier.__file__).parent
STAGE_NAMES = ["download", "prepare", "train", "embed", "evaluate", "tabulate", "report"]

# Modules that carry settings, say what went wrong or how far one has come, and write files whole:
# a change in them changes no result.
CANNOT_CHANGE_A_RESULT = {
    "hier.errors",
    "hier.git",
    "hier.pipeline",
    "hier.progress",
    "hier.config.base",
    "hier.config.dataset",
    "hier.config.keys",
    "hier.config.params",
    "hier.config.run",
    "hier.config.suite",
    "hier.data.fetch",  # what it brings is proved by its hash
    "hier.ledger.arrival",
    "hier.files.atomic",
    "hier.files.checkpoint_names",  # their names; what is in them is training/'s
    "hier.files.hashing",
    "hier.files.lock_owner",
    "hier.ledger.loaded_code",
    "hier.files.lock",
    "hier.ledger.environment",
    "hier.files.lock_note",
    "hier.ledger.record",
    "hier.yaml12",
}

# Distributions that carry settings, talk to a user or an address, hold locks or say where DVC's cache
# lies: no number is theirs.
CANNOT_CHANGE_A_NUMBER = {
    "click", "filelock", "platformdirs", "psutil", "pydantic", "pyyaml", "requests", "rich",
}  # fmt: skip

# What ledger/artifacts.py imports for others: the tables come from metrics files alone, which are JSON.
LOADED_FOR_OTHERS = {name: {"safetensors", "torch"} for name in ("tabulate", "report")}


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


# --- stages and their packages -------------------------------------------------------------------


@cache
def distributions():
    """The distribution that each import name belongs to, as the installed packages say."""
    return packages_distributions()


@cache
def packages_of(module):
    """Names of the distributions, lower case, that a module imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(module_file(module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    third = found - set(sys.stdlib_module_names) - {"hier"}
    return {distributions()[name][0].lower().replace("_", "-") for name in third}


def packages_needed(name):
    """What a stage computes with: what the modules import that can change its result."""
    modules = reachable(f"hier.stages.{name}") - CANNOT_CHANGE_A_RESULT
    found = set().union(*map(packages_of, modules))
    return found - CANNOT_CHANGE_A_NUMBER - LOADED_FOR_OTHERS.get(name, set())


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_every_package_that_a_stage_computes_with_is_in_its_list(name):
    assert packages_needed(name) - set(STAGES[name].packages) == set()


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_every_package_of_a_stage_is_installed_or_optional_and_named_as_pip_does(name):
    wanted = {word for line in pyproject()["dependencies"] for word in [re.split("[<>=]", line)[0]]}
    assert set(STAGES[name].packages) <= wanted
    assert len(set(STAGES[name].packages)) == len(STAGES[name].packages)
    assert all(versions(STAGES[name].packages).values())


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_walk_finds_the_packages_that_everyone_knows_of():
    assert {"torch", "numpy", "timm", "pytorch-metric-learning"} <= packages_needed("train")
    assert "pillow" in packages_needed("prepare")  # which is imported as PIL
    assert "torch" not in packages_needed("prepare")


# --- what makes a result stale -------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the code in the current folder, to be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SOURCE, "src/hier", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "expected", "expected")


def keys(params):
    """The key of each stage's first job; of what it reads, only the code and settings are looked at."""
    write_settings(params)
    found = {}
    for name in STAGE_NAMES:
        work = next(each for each in jobs(params) if each.stage.name == name)
        found[name] = content_key(what_goes_in(replace(work, inputs=()), params, Hasher()))
    return found


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("reporting/page.py", {"report"}),
        ("results/table.py", {"tabulate", "report"}),
        ("reporting/templates/index.html.j2", {"report"}),
        ("reporting/assets/page.css", {"report"}),
        ("reporting/assets/table.js", {"report"}),
        ("reporting/assets/vendor/d3.min.js", {"report"}),
        ("losses/hier.py", {"train", "report"}),
        ("losses/new.py", {"train", "report"}),
        ("training/loop.py", {"train", "report"}),
        ("models/network.py", {"train", "embed", "report"}),
        ("geometry/poincare.py", {"train", "embed", "evaluate", "report"}),
        ("evaluation/retrieval/recall.py", {"train", "evaluate", "report"}),
        ("evaluation/hierarchy/tree.py", {"evaluate", "report"}),
        ("evaluation/views/views.py", {"evaluate", "report"}),
        ("data/layouts/cub.py", {"prepare", "report"}),
        ("data/demo.py", {"download", "report"}),
        ("data/index.py", {"prepare", "train", "embed", "evaluate", "report"}),
        ("stages/train.py", {"train", "report"}),
        ("stages/evaluate.py", {"evaluate", "report"}),
        ("results/grades.py", {"tabulate", "report"}),
        ("ledger/record.py", set()),
        ("audit/audit.py", {"report"}),
        ("ledger/run_job.py", set()),
        ("pipeline.py", set()),
        ("config/run.py", set()),
        ("cli.py", set()),
    ],
)
def test_a_change_in_the_code_makes_stale_what_it_can_change_and_nothing_else(
    sources, params, path, changed
):
    """A change in reporting/ must not retrain a model; one in losses/ must. The report shows which code
    made a run, so it follows every change of it."""
    before = keys(params)
    file = Path("src/hier", path)
    file.write_text((file.read_text() if file.exists() else "") + "\n# changed\n")
    after = keys(params)
    assert {name for name in STAGE_NAMES if after[name] != before[name]} == changed


@pytest.mark.parametrize(
    ("setting", "value", "changed"),
    [
        ("seed", 7, {"train"}),
        ("regularizer.weight", 9.0, {"train", "evaluate"}),
        ("schedule.epochs", 99, {"train"}),
        ("embed.batch_size", 3, {"train", "embed"}),
        ("runtime.threads", 5, {"train", "embed", "evaluate"}),
        ("runtime.device", "cuda", {"train", "embed"}),
        ("runtime.workers", 5, set()),
    ],
)
def test_a_setting_makes_stale_what_reads_it(sources, params, setting, value, changed):
    """How many workers load images changes no number; tables show every setting."""
    before = keys(params)
    other = json.loads(json.dumps(params))
    run = next(work.key for work in jobs(params) if work.stage.name == "train")
    for name in (run,) if setting != "regularizer.weight" else list(params["runs"]):
        node = other["runs"][name]
        *above, last = setting.split(".")
        for part in above:
            node = node[part]
        node[last] = value
    after = keys(other)
    assert {name for name in STAGE_NAMES if after[name] != before[name]} == changed | {
        "tabulate",
        "report",
    }


def test_what_levels_are_called_makes_nothing_before_evaluate_stale(sources, params):
    before = keys(params)
    other = json.loads(json.dumps(params))
    other["datasets"]["smoke"]["levels"] = ["kind", "sort", "order"]
    after = keys(other)
    stale = {name for name in STAGE_NAMES if after[name] != before[name]}
    assert stale == {"evaluate", "tabulate", "report"}


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
        f"runs/{run}/proxies.safetensors",
    )
    assert work.outputs == (f"runs/{run}/metrics.json", f"runs/{run}/views.json")
    assert work.record == Path(f"runs/{run}/evaluate.record.json")
    assert {f"runs.{run}.head", f"runs.{run}.evaluate", "datasets.smoke.ks"} <= set(work.params)
    work = job("tabulate", "", params)
    assert (work.name, work.command) == ("tabulate", "hier tabulate")
    assert work.inputs == tuple(f"runs/{run}/metrics.json" for run in params["runs"])
    assert work.record == Path("results/tabulate.record.json")


def test_the_report_depends_on_whatever_its_traces_show(params):
    """Files, code and packages of every step: else the page could speak of what is no longer so."""
    *steps, last = [work for work in jobs(params) if work.stage.name != "tabulate"]
    assert last.stage.name == "report"
    report = STAGES["report"]
    for work in steps:
        assert set(work.inputs) <= set(last.inputs), work.name
        for path in work.stage.versioned():
            assert any(path == p or path.startswith(f"{p}/") for p in report.versioned()), path
        assert set(work.stage.packages) <= set(report.packages)


def test_what_is_gathered_leaves_out_a_dataset_that_could_not_be_had(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite = compose(
        ["suite=smoke-table1", "methods=[pa]", "backbone=vit_small"], ROOT / "conf"
    ).model_dump()
    before = job("report", "", suite).inputs
    gone = Path("data/cub/no-data.txt")
    gone.parent.mkdir(parents=True)
    gone.touch()
    after = job("report", "", suite).inputs
    assert set(before) - set(after) == {path for path in before if "cub" in path}
    assert "data/sop/images.npy" in after


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
        ("runs/a-b-c-1-s0/views.json", "hier evaluate a-b-c-1-s0"),
        ("results/table.csv", "hier tabulate"),
        ("results/table.md", "hier tabulate"),
        ("results/paper_layout.csv", "hier tabulate"),
        ("results/paper_layout.md", "hier tabulate"),
        ("results/paper_layout.tex", "hier tabulate"),
        ("results/report", "hier report"),
        ("expected", "git checkout expected"),
    ],
)
def test_each_output_is_traced_to_the_command_that_makes_it(path, command):
    assert maker(path) == command


def test_every_output_of_every_job_is_traced_to_it(params):
    for work in jobs(params):
        assert {maker(path) for path in work.outputs} == {work.command}


# --- dvc.yaml ------------------------------------------------------------------------------------


def paths(outputs):
    """Paths of outputs; every one is persistent, so that DVC leaves it in place. Those that git keeps
    are out of DVC's cache, and no others."""
    for output in outputs:
        [(path, settings)] = output.items()
        name = path.rpartition("/")[2]
        small = name in ("metrics.json", "history.csv") or name.startswith(
            ("table.", "paper_layout.")
        )
        assert settings == {"persist": True} | ({"cache": False} if small else {})
        yield path


def expand(text, params):
    """dvc.yaml's stages as DVC expands them: {name: (cmd, deps, params, outputs)}, the parameters as
    {file: keys}."""
    suite = {
        "datasets": {name: name for name in params["datasets"]},  # a list: DVC has items alone
        "runs": {name: run["dataset"] for name, run in params["runs"].items()},
    }

    def filled(value, key, item):
        return value.replace("${key}", key).replace("${item}", item or "?")

    expanded = {}
    for name, stage in yaml.safe_load(text)["stages"].items():
        if "foreach" in stage:
            over = suite[stage["foreach"].removeprefix("${").removesuffix("}")]
            cells = {f"{name}@{key}": (key, item, stage["do"]) for key, item in over.items()}
        else:
            cells = {name: ("", None, stage)}
        for full, (key, item, body) in cells.items():
            assert set(body) <= {"cmd", "deps", "params", "outs", "metrics"}
            outputs = [*paths(body.get("metrics", [])), *paths(body["outs"])]
            deps, outputs = (
                [filled(path, key, item) for path in listed] for listed in (body["deps"], outputs)
            )
            settings = {
                filled(file, key, item): keys
                for of_file in body.get("params", [])
                for file, keys in of_file.items()
            }
            expanded[full] = (filled(body["cmd"], key, item), deps, settings, outputs)
    return expanded


def in_files(keys):
    """Dotted keys by the files in which they stand, worked out apart from the code under test."""
    found = {}
    for key in keys:
        kind, _, rest = key.partition(".")
        name, _, inner = rest.partition(".")
        found.setdefault(f"params/{kind}/{name}.yaml", []).append(inner)
    return found


def test_dvc_yaml_expanded_by_hand_is_the_list_of_jobs(params):
    ours = {
        work.name: (
            work.command,
            [*work.inputs, *work.stage.versioned()],
            in_files(work.params),
            [*work.outputs, str(work.record)],
        )
        for work in jobs(params)
    }
    text = dvc_yaml(params)
    assert text.startswith("# Written by `hier compose`")
    assert expand(text, params) == ours
    assert dvc_yaml(params) == text


def test_metrics_are_metrics_to_dvc(params):
    stages = yaml.safe_load(dvc_yaml(params))["stages"]
    body = stages["evaluate"]["do"]
    assert list(paths(body["metrics"])) == ["runs/${key}/metrics.json"]
    assert list(paths(body["outs"])) == [
        "runs/${key}/views.json",
        "runs/${key}/evaluate.record.json",
    ]
    assert all(
        "metrics" not in stage.get("do", stage)
        for name, stage in stages.items()
        if name != "evaluate"
    )


def test_plots_are_of_runs_that_were_trained_and_looked_at(params):
    plots = yaml.safe_load(dvc_yaml(params))["plots"]
    hier, pa, untrained = (f"smoke-{m}-test_resnet-16-s0" for m in ("hier", "pa", "untrained"))
    curves = [name for plot in plots for name, body in plot.items() if body]
    assert curves == ["loss"]
    loss = plots[0]["loss"]
    assert loss["x"] == "epoch"
    assert f"runs/{hier}/history.csv" in loss["y"]
    assert f"runs/{untrained}/history.csv" not in loss["y"]
    assert {f"results/report/figures/{run}-disk.svg": None for run in (hier,)} in plots
    other = json.loads(json.dumps(params))
    other["runs"][hier]["protocol"] |= {"test_every": 1}
    other["runs"][pa]["protocol"] |= {"test_every": 1, "choose": "held_out"}
    recall = yaml.safe_load(dvc_yaml(other))["plots"][1]["recall"]
    assert recall["y"] == {
        f"runs/{pa}/history.csv": "held-out R@1", f"runs/{hier}/history.csv": "test R@1"
    }  # fmt: skip
