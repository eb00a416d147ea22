"""The pipeline as data: modules, code lists, paths, order, and dvc.yaml as a view of it."""

import ast
import json
import os
import re
import shutil
import sys
import tomllib
from copy import deepcopy
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import hier
from fakes.nursery import nursery
from fakes.settings import write_settings
from hier.config.compose import compose
from hier.config.settings import PARAMS, Settings, choices_of_dataset
from hier.dvc_view import dvc_yaml
from hier.files.hashing import Hasher
from hier.jobs import job, jobs, maker
from hier.ledger.environment import versions
from hier.ledger.record import content_key, fingerprint
from hier.pipeline import SRC, STAGES
from hier.registry import LAYOUTS, LOSSES, POOLINGS, stem

ROOT = Path(__file__).parents[1]
SOURCE = Path(hier.__file__).parent
STAGE_NAMES = ["download", "prepare", "train", "embed", "evaluate", "views", "tabulate", "report"]
SUITE = ["suite=smoke", "methods=[untrained,pa,hier]", "seeds=[0,1]"]
RUN = "smoke-hier-test_resnet-16-s0"

# Modules that carry settings, say what went wrong or how far one has come, and write files whole:
# a change in them changes no result.
CANNOT_CHANGE_A_RESULT = {
    "hier",  # its one function is for users alone
    "hier.errors",
    "hier.gpus",
    "hier.git",
    "hier.jobs",
    "hier.pipeline",
    "hier.progress",
    "hier.config.base",
    "hier.config.dataset",
    "hier.config.keys",
    "hier.config.settings",
    "hier.config.protocol",
    "hier.config.run",
    "hier.config.suite",
    "hier.data.fetch",  # what it brings is proved by its hash
    "hier.data.retries",
    "hier.ledger.arrival",
    "hier.files.atomic",
    "hier.files.checkpoint_names",  # their names; what is in them is training/'s
    "hier.files.hashing",
    "hier.files.lock_owner",
    "hier.ledger.loaded_code",
    "hier.files.lock",
    "hier.ledger.environment",
    "hier.files.lock_note",
    "hier.registry",  # a name is that of a file
    "hier.ledger.record",
    "hier.yaml12",
}

NAMES = {LOSSES: "LOSSES", LAYOUTS: "LAYOUTS", POOLINGS: "POOLINGS"}

READ_FLAGS_ALONE = {"hier.results.paper"}  # of the losses, whose modules it does not build

# Distributions that carry settings, talk to a user or an address, hold locks or say where DVC's cache
# lies: no number is theirs.
CANNOT_CHANGE_A_NUMBER = {
    "click", "filelock", "platformdirs", "psutil", "pydantic", "pyyaml", "requests", "rich",
}  # fmt: skip

# The module whose functions import what they alone need: of it, a stage loads what it calls.
LAZY = "hier.ledger.artifacts"


@pytest.fixture(scope="module")
def params():
    return Settings.of(compose(SUITE, ROOT / "conf"))


@pytest.fixture(scope="module")
def looking():
    """The same with runs that look at recall while they train."""
    return Settings.of(compose([*SUITE, "protocol.test_every=1"], ROOT / "conf"))


def first_job(name, settings):
    """The job of a stage for the run RUN, or for the one dataset or suite."""
    return job(name, {"run": RUN}.get(STAGES[name].scope, "smoke"), settings)


# --- stages and their code -----------------------------------------------------------------------


def test_the_stages_stand_in_the_order_of_the_data():
    assert list(STAGES) == STAGE_NAMES
    assert [stage.name for stage in STAGES.values()] == STAGE_NAMES
    assert [stage.scope for stage in STAGES.values()] == [
        "dataset", "dataset", "run", "run", "run", "run", "suite", "suite",
    ]  # fmt: skip


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_a_stage_has_a_module_with_run(name):
    assert callable(import_module(f"hier.stages.{name}").run)


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_what_a_stage_depends_on_exists(name, params, looking, tmp_path):
    write_settings(params, tmp_path)
    for settings in (params, looking):
        paths = first_job(name, settings).code_paths
        assert paths[0] == f"src/hier/stages/{name}.py"
        assert len(set(paths)) == len(paths)
        for path in paths:
            at = SOURCE / path.removeprefix(SRC) if path.startswith(SRC) else ROOT / path
            assert (tmp_path / path if path.startswith("params/") else at).exists(), path


def covered(module, paths):
    """Whether the file of a module is among some files and folders."""
    file = SRC + module_file(module).relative_to(SOURCE).as_posix()
    return any(file == path or file.startswith(f"{path}/") for path in paths)


def module_file(module):
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def missing(modules, work):
    """Those of `modules` that could change a job's result and that it does not list."""
    return sorted(
        module
        for module in modules - CANNOT_CHANGE_A_RESULT
        if not covered(module, work.code_paths)
        and not is_empty_package(module)
        and not is_chosen(module, work.stage)
    )


PARTS = {
    "losses/{loss}.py": LOSSES,
    "models/pooling/{pooling}.py": POOLINGS,
    "data/layouts/{layout}.py": LAYOUTS,
}


def is_chosen(module, stage):
    """A loss, pooling or layout: the one that a run chooses is in its job's list, see the test of parts. So
    is what some layouts alone need."""
    package, _, stem = module.rpartition(".")
    return (module == "hier.data.layouts.matlab" and "data/layouts/{shared}.py" in stage.code) or any(
        template in stage.code and package == registry.package and registry.has(stem)
        for template, registry in PARTS.items()
    )


@pytest.mark.parametrize(
    ("template", "stage"),
    [
        ("losses/{loss}.py", "train"),
        ("models/pooling/{pooling}.py", "train"),
        ("models/pooling/{pooling}.py", "embed"),
        ("data/layouts/{layout}.py", "prepare"),
    ],
)
def test_what_a_part_needs_is_in_the_list_of_the_job_that_chooses_it(template, stage):
    """What it imports from its own folder, too, else a change there would go unnoticed."""
    registry, kind = PARTS[template], template.partition("{")[2].partition("}")[0]
    assert template in STAGES[stage].code
    for name in registry.names():
        chosen = {
            "loss": "none",
            "pooling": "timm",
            "layout": "cub",
            "search": "x",
            kind: stem(name),
        }
        chosen |= choices_of_dataset({"layout": chosen["layout"]})
        listed = {f"src/hier/{path.format(**chosen)}" for path in STAGES[stage].code}
        needed = {file for file in registry.files(name) if not is_empty_package(module_of(file))}
        assert {str(file.relative_to(ROOT)) for file in needed} <= listed, name


def module_of(file):
    return ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")


def is_empty_package(module):
    """A package whose __init__ holds a docstring and constants alone."""
    file = module_file(module)
    if file.name != "__init__.py":
        return False
    return all(isinstance(node, ast.Expr | ast.Assign) for node in ast.parse(file.read_text()).body)


@pytest.fixture(scope="module")
def loaded():
    """The modules of hier that importing each stage loads, each in a process that has loaded none."""
    code = (
        "import json, sys; from importlib import import_module; import_module(sys.argv[1]); "
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'hier']))"
    )
    return {
        name: set(json.loads(nursery().run(code, [f"hier.stages.{name}"]).stdout)) for name in STAGE_NAMES
    }


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_every_module_that_a_stage_loads_is_in_its_code_list(name, loaded, params):
    assert f"hier.stages.{name}" in loaded[name]
    assert missing(loaded[name], first_job(name, params)) == []


def test_a_training_that_looks_at_no_recall_loads_nothing_that_finds_neighbours(params, tmp_path):
    """Nor does its code list have it: a faster search retrains no such model."""
    shutil.copytree(SOURCE, tmp_path / "src/hier", ignore=shutil.ignore_patterns("__pycache__"))
    write_settings(params, tmp_path)
    code = (
        "import json, sys; from hier.ledger.run_job import run_stage; "
        "[run_stage(stage, 'smoke') for stage in ('download', 'prepare')]; "
        f"run_stage('train', {RUN!r}); print(); "
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'hier']))"
    )
    done = nursery().run(code, [], tmp_path, os.environ | {"PYTHONPATH": "src"})
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert "hier.training.loop" in modules
    assert [m for m in modules if m.startswith("hier.evaluation")] == []
    paths = first_job("train", params).code_paths
    assert [p for p in paths if p.startswith("src/hier/evaluation/")] == ["src/hier/evaluation/__init__.py"]


@cache
def nodes_of(module, functions):
    """The syntax of a module; with names of functions, of these and of what they call there."""
    tree = ast.parse(module_file(module).read_text())
    if functions is None:
        return [*ast.walk(tree)]
    own = {part.name: part for part in tree.body if isinstance(part, ast.FunctionDef)}
    called, todo = set(), [*functions & own.keys()]
    while todo:
        called.add(name := todo.pop())
        names = {node.id for node in ast.walk(own[name]) if isinstance(node, ast.Name)}
        todo += (names & own.keys()) - called
    at_once = (part for part in tree.body if isinstance(part, ast.Import | ast.ImportFrom))
    return [node for part in (*at_once, *(own[name] for name in called)) for node in ast.walk(part)]


@cache
def imports_of(module, functions=None):
    """Modules of hier that a module imports anywhere, inside functions and for types included; of LAZY,
    with those of its functions that are imported."""
    found = set()
    for node in nodes_of(module, functions):
        if isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = frozenset(alias.name for alias in node.names)
            found.add((node.module, names if node.module == LAZY else None))
            found |= {(f"{node.module}.{name}", None) for name in names}
    imported = {name for name, _ in found}
    for registry in (LOSSES, LAYOUTS, POOLINGS):  # whose parts are imported by their names
        if f"hier.registry.{NAMES[registry]}" in imported and module not in READ_FLAGS_ALONE:
            found |= {(f"{registry.package}.{name}", None) for name in registry.names()}
    return {(m, names) for m, names in found if m.split(".")[0] == "hier" and module_file(m).exists()}


def reachable(module, without=()):
    """All modules that `module` may ever import, except through those that cannot change a result, and
    without some: each with None, or with the functions of LAZY that are."""
    seen, todo = set(), [(module, None)]
    while todo:
        here = todo.pop()
        if here not in seen and here[0] not in without:
            seen.add(here)
            if here[0] not in CANNOT_CHANGE_A_RESULT:
                todo += imports_of(*here)
    return seen


def names_of(found):
    return {module for module, _ in found}


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_what_a_stage_imports_late_is_in_its_code_list_too(name, params, looking):
    found = names_of(reachable(f"hier.stages.{name}"))
    assert found - {"hier.config.suite"}  # the walk found something
    assert missing(found, first_job(name, looking)) == []
    if name == "train":
        assert {"hier.losses.hier", "hier.losses.hyp", "hier.losses.library"} <= found
        assert "hier.models.pooling.avg_max" in found
    if name == "prepare":
        assert "hier.data.layouts.inshop" in found
    found = reachable(f"hier.stages.{name}", {"hier.evaluation.retrieval.while_training"})
    assert missing(names_of(found), first_job(name, params)) == []


# --- stages and their packages -------------------------------------------------------------------


@cache
def distributions():
    """The distribution that each import name belongs to, as the installed packages say."""
    return packages_distributions()


@cache
def packages_of(module, functions):
    """Names of the distributions, lower case, that a module, or some functions of it, import anywhere."""
    found = set()
    for node in nodes_of(module, functions):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    third = found - set(sys.stdlib_module_names) - {"hier"}
    return {distributions()[name][0].lower().replace("_", "-") for name in third}


def packages_needed(name):
    """What a stage computes with: what the modules import that can change its result."""
    found = set()
    for module, functions in reachable(f"hier.stages.{name}"):
        if module not in CANNOT_CHANGE_A_RESULT:
            found |= packages_of(module, functions)
    return found - CANNOT_CHANGE_A_NUMBER


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
        found[name] = content_key(fingerprint(replace(work, inputs=()), Hasher()))
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
        ("losses/none.py", {"train", "tabulate", "report"}),
        ("losses/new.py", set()),
        ("training/loop.py", {"train", "report"}),
        ("models/network.py", {"train", "embed", "report"}),
        ("geometry/poincare.py", {"train", "embed", "evaluate", "views", "report"}),
        ("evaluation/retrieval/recall.py", {"evaluate", "views", "report"}),
        ("evaluation/hierarchy/tree.py", {"evaluate", "views", "report"}),
        ("evaluation/views/views.py", {"views", "report"}),
        ("data/layouts/cub.py", {"prepare", "report"}),
        ("data/demo.py", {"download", "report"}),
        ("data/index.py", {"prepare", "train", "embed", "evaluate", "views", "report"}),
        ("stages/train.py", {"train", "report"}),
        ("stages/evaluate.py", {"evaluate", "report"}),
        ("stages/views.py", {"views", "report"}),
        ("results/grades.py", {"tabulate", "report"}),
        ("results/measures.py", {"evaluate", "tabulate", "report"}),
        ("ledger/record.py", set()),
        ("audit/audit.py", {"report"}),
        ("ledger/run_job.py", set()),
        ("pipeline.py", set()),
        ("config/run.py", set()),
        ("cli.py", set()),
    ],
)
def test_a_change_in_the_code_makes_stale_what_it_can_change_and_nothing_else(sources, params, path, changed):
    """A change in reporting/ must not retrain a model; one in losses/ must. The report shows which code
    made a run, so it follows every change of it."""
    before = keys(params)
    file = Path("src/hier", path)
    file.write_text((file.read_text() if file.exists() else "") + "\n# changed\n")
    after = keys(params)
    assert {name for name in STAGE_NAMES if after[name] != before[name]} == changed


def test_what_reads_matlab_files_makes_stale_those_datasets_alone_that_have_some():
    """And no other dataset's key has it, as if there were no such file."""
    path, prepare = "src/hier/data/layouts/matlab.py", {}
    for name in LAYOUTS.names():
        settings = Settings({}, {"mine": {"layout": name}}, {})
        prepare[name] = job("prepare", "mine", settings).code_paths
    assert {name for name, paths in prepare.items() if path in paths} == {"cars", "cars_half"}
    folder = "src/hier/data/layouts"
    assert [path for path in prepare["grocery"] if path.startswith(folder)] == [
        f"{folder}/__init__.py", f"{folder}/grocery.py", f"{folder}/sides.py", f"{folder}/split_file.py",
    ]  # fmt: skip


def test_what_finds_neighbours_makes_a_training_stale_that_looks_at_recall(sources, looking):
    before = keys(looking)
    file = Path("src/hier/evaluation/retrieval/recall.py")
    file.write_text(file.read_text() + "\n# changed\n")
    after = keys(looking)
    stale = {name for name in STAGE_NAMES if after[name] != before[name]}
    assert stale == {"train", "evaluate", "views", "report"}


@pytest.mark.parametrize(
    ("setting", "value", "changed"),
    [
        ("seed", 7, {"train"}),
        ("regularizer.weight", 9.0, {"train", "evaluate", "views"}),
        ("schedule.epochs", 99, {"train"}),
        ("embed.batch_size", 3, {"train", "embed"}),
        ("runtime.threads", 5, {"train", "embed", "evaluate", "views"}),
        ("runtime.device", "cuda", {"train", "embed"}),
        ("runtime.workers", 5, set()),
        ("runtime.processes", 5, set()),
        ("sampler.shards", 2, {"train"}),
    ],
)
def test_a_setting_makes_stale_what_reads_it(sources, params, setting, value, changed):
    """How many processes load images or train changes no number; tables show every setting."""
    before = keys(params)
    other = deepcopy(params)
    run = next(work.key for work in jobs(params) if work.stage.name == "train")
    for name in (run,) if setting != "regularizer.weight" else list(params.runs):
        node = other.runs[name]
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
    other = deepcopy(params)
    other.datasets["smoke"]["levels"] = ["kind", "sort", "order"]
    after = keys(other)
    stale = {name for name in STAGE_NAMES if after[name] != before[name]}
    assert stale == {"evaluate", "views", "tabulate", "report"}


# --- jobs ----------------------------------------------------------------------------------------


def test_jobs_stand_after_what_they_need_and_each_output_has_one_maker(params):
    made = set()
    for work in jobs(params):
        assert set(work.inputs) <= made, work.name
        assert made.isdisjoint(work.outputs), work.name
        assert len(set(work.outputs)) == len(work.outputs)
        made |= set(work.outputs)
    assert len(list(jobs(params))) == 2 * 1 + 4 * 6 + 2


def gathered_of(runs):
    return [f"runs/{run}/{name}" for name in ("metrics.json", "classes.csv") for run in runs]


def test_each_suite_has_the_stages_of_a_suite(params):
    """Beside each other, in one workspace: a run of both is made once, and stands in both tables."""
    smoke = compose(SUITE, ROOT / "conf")
    pa = compose([*SUITE, "methods=[pa]"], ROOT / "conf").model_copy(update={"suite": "pa"})
    both = Settings.of(pa, smoke)
    found = {work.name: work for work in jobs(both)}
    assert found.keys() == {work.name for work in jobs(params)} | {"tabulate@pa", "report@pa"}
    assert found["tabulate@pa"].inputs == tuple(gathered_of(pa.runs))
    assert found["tabulate@pa"].outputs[0] == "results/pa/table.csv"
    assert "params/suites/pa.yaml" in found["tabulate@pa"].code_paths
    for work in jobs(params):
        assert (found[work.name].inputs, found[work.name].code_paths, found[work.name].params) == (
            work.inputs, work.code_paths, work.params
        )  # fmt: skip


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
    assert work.outputs == (f"runs/{run}/metrics.json", f"runs/{run}/classes.csv")
    assert work.record == Path(f"runs/{run}/evaluate.record.json")
    assert {f"runs.{run}.head", f"runs.{run}.evaluate", "datasets.smoke.ks"} <= set(work.params)
    work = job("tabulate", "smoke", params)
    assert (work.name, work.command) == ("tabulate@smoke", "hier tabulate smoke")
    assert work.dvc_name == "tabulate-smoke"
    assert work.inputs == tuple(gathered_of(params.runs))
    assert work.record == Path("results/smoke/tabulate.record.json")
    assert [path for path in work.code_paths if path.startswith("params/")] == [
        "params/suites/smoke.yaml",
        "params/datasets/smoke.yaml",
        *(f"params/runs/{run}.yaml" for run in params.runs),
    ]


def test_the_report_depends_on_whatever_its_traces_show(params):
    """Files, code and packages of every step: else the page could speak of what is no longer so."""
    *steps, last = [work for work in jobs(params) if work.stage.name != "tabulate"]
    assert last.stage.name == "report"
    for work in steps:
        assert set(work.inputs) <= set(last.inputs), work.name
        for path in work.code_paths:
            assert any(path == p or path.startswith(f"{p}/") for p in last.code_paths), path
        assert set(work.stage.packages) <= set(last.stage.packages)


def test_what_is_gathered_leaves_out_a_dataset_that_could_not_be_had(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite = compose(["suite=smoke-table1", "methods=[pa]", "backbone=vit_small"], ROOT / "conf")
    settings = Settings.of(suite)
    before = job("report", "smoke-table1", settings).inputs
    gone = Path("data/cub/no-data.txt")
    gone.parent.mkdir(parents=True)
    gone.touch()
    after = job("report", "smoke-table1", settings).inputs
    assert set(before) - set(after) == {path for path in before if "cub" in path}
    assert "data/sop/images.npy" in after


def test_every_parameter_of_every_job_is_a_key_of_params(params):
    for work in jobs(params):
        for key, value in work.params.items():
            node = vars(params)
            for part in key.split("."):
                node = node[part]
            assert value == node


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
        ("runs/a-b-c-1-s0/views.json", "hier views a-b-c-1-s0"),
        ("results/demo/table.csv", "hier tabulate demo"),
        ("results/demo/table.md", "hier tabulate demo"),
        ("results/demo/paper_layout.csv", "hier tabulate demo"),
        ("results/demo/paper_layout.md", "hier tabulate demo"),
        ("results/demo/paper_layout.tex", "hier tabulate demo"),
        ("results/table1-seeds/report", "hier report table1-seeds"),
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
        texts = ("metrics.json", "classes.csv", "history.csv", "comparisons.csv")
        small = name in texts or name.startswith(("table.", "paper_layout."))
        assert settings == {"persist": True} | ({"cache": False} if small else {})
        yield path


def expand(text, index):
    """dvc.yaml's stages as DVC expands them: {name: (cmd, deps, params, outputs)}, the parameters as
    {file: keys}.

    Args:
        index: what params.yaml holds.
    """

    def filled(value, key, item):
        return re.sub(r"\$\{item\.(\w+)\}", lambda found: item[found[1]], value.replace("${key}", key))

    expanded = {}
    for name, stage in yaml.safe_load(text)["stages"].items():
        if "foreach" in stage:
            over = index[stage["foreach"].removeprefix("${").removesuffix("}")]
            cells = {f"{name}@{key}": (key, item, stage["do"]) for key, item in over.items()}
        else:
            cells = {name: ("", {}, stage)}
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


@pytest.mark.parametrize("looks", [False, True])
def test_dvc_yaml_expanded_by_hand_is_the_list_of_jobs(params, looking, looks):
    """Of a run that chooses other code, too, and of two suites side by side."""
    chosen = looking if looks else params
    two = replace(chosen, suites=chosen.suites | {"second": [RUN]})
    ours = {
        work.dvc_name: (
            work.command,
            [*work.inputs, *work.code_paths],
            in_files(work.params),
            [*work.outputs, str(work.record)],
        )
        for work in jobs(two)
    }
    text = dvc_yaml(two)
    assert text.startswith("# Written by `hier compose`")
    assert expand(text, yaml.safe_load(two.texts()[PARAMS])) == ours
    assert dvc_yaml(two) == text


def test_metrics_are_metrics_to_dvc(params):
    stages = yaml.safe_load(dvc_yaml(params))["stages"]
    body = stages["evaluate"]["do"]
    assert list(paths(body["metrics"])) == ["runs/${key}/metrics.json"]
    assert list(paths(body["outs"])) == ["runs/${key}/classes.csv", "runs/${key}/evaluate.record.json"]
    assert all(
        "metrics" not in stage.get("do", stage) for name, stage in stages.items() if name != "evaluate"
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
    assert {f"results/smoke/report/figures/{run}-disk.svg": None for run in (hier,)} in plots
    other = deepcopy(params)
    other.runs[hier]["protocol"] |= {"test_every": 1}
    other.runs[pa]["protocol"] |= {"test_every": 1, "choose": "held_out"}
    recall = yaml.safe_load(dvc_yaml(other))["plots"][1]["recall"]
    assert recall["y"] == {
        f"runs/{pa}/history.csv": "held-out R@1", f"runs/{hier}/history.csv": "test R@1"
    }  # fmt: skip
