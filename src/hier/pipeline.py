"""The pipeline as data: each stage's inputs, outputs, code and parameters, in one place.

dvc.yaml (written by `hier compose`) and the Snakefile are two views of `STAGES`. Paths may hold
`{dataset}` and `{run}`; parameters are dotted keys of params.yaml.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

ARCHIVE = "data/{dataset}/archive"
INDEX = "data/{dataset}/index.parquet"
STORE = "data/{dataset}/images.npy"
MODEL = "runs/{run}/model.safetensors"
PROXIES = "runs/{run}/proxies.safetensors"
HISTORY = "runs/{run}/history.csv"
EMBEDDINGS = "runs/{run}/embeddings.safetensors"
METRICS = "runs/{run}/metrics.json"
VIEWS = "runs/{run}/views.json"
TABLE_CSV = "results/table.csv"
TABLE_MD = "results/table.md"
LAYOUT_CSV = "results/paper_layout.csv"
LAYOUT_MD = "results/paper_layout.md"
LAYOUT_TEX = "results/paper_layout.tex"
REPORT = "results/report"
PAGE = f"{REPORT}/index.html"
DISK = f"{REPORT}/figures/{{run}}-disk.svg"
EXPECTED = "expected"
DVC_YAML = Path("dvc.yaml")

SRC = "src/hier/"

# Of the runtime, what can change a number; how many workers load images cannot.
NUMERICS = (
    "runtime.device", "runtime.precision", "runtime.threads", "runtime.tf32",
    "runtime.cudnn_benchmark",
)  # fmt: skip

TABLES = ("pandas", "pandera", "pyarrow")
NETWORKS = ("numpy", "pillow", "safetensors", "timm", "torch", "torchvision")


@dataclass(frozen=True)
class Stage:
    """One arrow of the data flow: one module in stages/, one Snakemake rule, one DVC stage.

    `each` says what it runs once for. `gathers` are inputs taken from every dataset or every run of
    the suite, whichever their paths name.
    `code` lists the files and folders below src/hier/ whose change makes the outputs stale,
    `packages` the libraries whose versions do, and `tables` other folders under version control
    that it reads.
    """

    name: str
    each: Literal["dataset", "run", "suite"]
    outputs: tuple[str, ...]
    params: tuple[str, ...]
    code: tuple[str, ...]
    packages: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    gathers: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    directory: bool = field(default=False)  # whether the one output is a folder
    gpu: bool = field(default=False)  # whether it works on a GPU, where there is one

    def command(self, key: str = "") -> str:
        return f"hier {self.name} {key}".strip()

    @property
    def record(self) -> str:
        """Where the record of what went in and what came out lies, beside the outputs."""
        folder = "results" if self.each == "suite" else self.outputs[0].rpartition("/")[0]
        return f"{folder}/{self.name}.record.json"

    def versioned(self) -> list[str]:
        """What it reads that is under version control: its own module first, then what that uses."""
        return [f"{SRC}stages/{self.name}.py", *(SRC + path for path in self.code), *self.tables]


def _of_run(*groups: str) -> tuple[str, ...]:
    return tuple(f"runs.{{run}}.{group}" for group in groups)


def _of_dataset(*groups: str) -> tuple[str, ...]:
    return tuple(f"datasets.{{dataset}}.{group}" for group in groups)


STEPS: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "download",
            each="dataset",
            outputs=(ARCHIVE,),
            directory=True,
            params=_of_dataset("generate", "sources"),
            code=("data/archive.py", "data/demo.py", "data/download.py", "data/fetch.py"),
            packages=("numpy", "pillow"),
        ),
        Stage(
            "prepare",
            each="dataset",
            inputs=(ARCHIVE,),
            outputs=(INDEX, STORE),
            params=_of_dataset(
                "layout", "limits", "superclass", "counts", "exclude", "subset", "store_size"
            ),
            code=("data/archive.py", "data/index.py", "data/layouts", "data/prepare.py", "data/store.py",
                "data/subset.py"),
            packages=("numpy", "pillow", *TABLES, "scipy"),
        ),
        Stage(
            "train",
            each="run",
            gpu=True,
            inputs=(INDEX, STORE),
            outputs=(MODEL, PROXIES, HISTORY),
            params=_of_run(
                "seed", "backbone", "head", "loss", "regularizer", "optimizer", "schedule",
                "sampler", "augmentation", "embed", "evaluate", "protocol", *NUMERICS, "runtime.compile",
            )
            + _of_dataset("ks"),
            code=(
                "data/augmentation.py", "data/index.py", "data/sampling.py", "data/store.py",
                "evaluation/embedding.py", "evaluation/protocol.py", "evaluation/ranks.py",
                "evaluation/recall.py", "generators.py", "geometry", "losses", "models",
                "stages/images.py", "stages/inputs.py", "training",
            ),
            packages=(*NETWORKS, *TABLES, "pytorch-metric-learning"),
        ),
        Stage(
            "embed",
            each="run",
            gpu=True,
            inputs=(INDEX, STORE, MODEL),
            outputs=(EMBEDDINGS,),
            params=_of_run("backbone", "head", "embed", *NUMERICS),
            code=(
                "data/augmentation.py", "data/index.py", "data/store.py", "geometry", "models",
                "evaluation/embedding.py", "stages/images.py", "stages/inputs.py",
                "training/determinism.py",
            ),
            packages=(*NETWORKS, *TABLES),
        ),
        Stage(
            "evaluate",
            each="run",
            inputs=(INDEX, EMBEDDINGS, HISTORY, PROXIES),
            outputs=(METRICS, VIEWS),
            params=_of_run("head", "regularizer", "evaluate", "protocol", "runtime.threads")
            + _of_dataset("ks", "levels"),
            code=("data/index.py", "evaluation", "generators.py", "geometry", "stages/inputs.py"),
            packages=("numpy", *TABLES, "safetensors", "scikit-learn", "scipy", "torch"),
        ),
        Stage(
            "tabulate",
            each="suite",
            tables=(EXPECTED,),
            gathers=(METRICS,),
            outputs=(TABLE_CSV, TABLE_MD, LAYOUT_CSV, LAYOUT_MD, LAYOUT_TEX),
            params=("suite", "datasets", "runs"),
            code=(
                "provenance/figures.py", "provenance/verify.py", "reporting/layout.py",
                "reporting/table.py", "stages/inputs.py",
            ),
            packages=("pandas",),
        ),
    )
}  # fmt: skip


def _all_of(steps: Iterable[Stage], *own: str) -> tuple[str, ...]:
    """Code of some stages and `own`, without what lies in a folder that is listed anyway."""
    paths = set(own)
    for step in steps:
        paths |= {f"stages/{step.name}.py", *step.code}
    return tuple(sorted(p for p in paths if not any(p.startswith(f"{other}/") for other in paths)))


# It shows the way of every figure back to the archive. What it says of the files, the code and the
# packages of the steps before it changes with these alone.
REPORT_STAGE = Stage(
    "report",
    each="suite",
    inputs=(TABLE_CSV, LAYOUT_CSV, LAYOUT_TEX),
    gathers=(ARCHIVE, INDEX, STORE, MODEL, PROXIES, HISTORY, EMBEDDINGS, METRICS, VIEWS),
    outputs=(REPORT,),
    directory=True,
    params=("suite", "datasets", "runs"),
    code=_all_of(
        STEPS.values(),
        *("provenance/audit.py", "provenance/keep.py", "provenance/ledger.py"),
        *("provenance/trace.py", "reporting"),
    ),
    packages=tuple(
        sorted({"jinja2", "matplotlib"}.union(*(step.packages for step in STEPS.values())))
    ),
)

STAGES: dict[str, Stage] = {**STEPS, "report": REPORT_STAGE}


@dataclass(frozen=True)
class Job:
    """A stage applied to one dataset, run or suite: concrete paths and parameter keys."""

    stage: Stage
    key: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: tuple[str, ...]
    record: Path

    @property
    def name(self) -> str:
        """The name that DVC gives it, such as `train@demo-hier-test_resnet-64-s0`."""
        return f"{self.stage.name}@{self.key}" if self.key else self.stage.name

    @property
    def command(self) -> str:
        return self.stage.command(self.key)


def no_data(dataset: str) -> Path:
    """The note that `hier download` leaves where a dataset could not be had: one line, why.

    While it is there, the dataset's runs are left out of the suite; the next `hier download` of it
    tries again.
    """
    return Path(f"data/{dataset}/no-data.txt")


def jobs(params: dict[str, Any]) -> Iterator[Job]:
    """Every job of a suite whose data can be had, in an order in which they can run."""
    for stage in STAGES.values():
        if stage.each == "suite":
            yield job(stage.name, "", params)
        else:
            for key in params[f"{stage.each}s"]:
                dataset = key if stage.each == "dataset" else params["runs"][key]["dataset"]
                if not no_data(dataset).exists():
                    yield job(stage.name, key, params)


def job(name: str, key: str, params: dict[str, Any]) -> Job:
    """The job of stage `name` for dataset or run `key` ('' for the suite's stages)."""
    stage = STAGES[name]
    names = {"dataset": key, "run": key}
    if stage.each == "run":
        names["dataset"] = params["runs"][key]["dataset"]

    def fill(templates: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(template.format(**names) for template in templates)

    gathered: tuple[str, ...] = ()
    if stage.gathers:
        had = [name for name in params["datasets"] if not no_data(name).exists()]
        runs = [run for run, settings in params["runs"].items() if settings["dataset"] in had]
        gathered = _gathered(stage, had, runs)
    return Job(
        stage,
        key,
        fill(stage.inputs) + gathered,
        fill(stage.outputs),
        fill(stage.params),
        Path(stage.record.format(**names)),
    )


def _gathered(stage: Stage, datasets: Iterable[str], runs: Iterable[str]) -> tuple[str, ...]:
    """What a stage takes from some datasets and runs."""
    names = {"{dataset}": list(datasets), "{run}": list(runs)}
    return tuple(
        template.replace(of, name)
        for template in stage.gathers
        for of, found in names.items()
        if of in template
        for name in found
    )


def maker(path: str) -> str:
    """The command that makes `path`, in words."""
    for stage in STAGES.values():
        for output in stage.outputs:
            before, _, after = output.partition("{" + stage.each + "}")
            if path.startswith(before) and path.endswith(after) and stage.each in output:
                return stage.command(path.removeprefix(before).removesuffix(after))
            if path == output:
                return stage.command()
    return "git checkout expected"


def _kept(path: str) -> dict[str, Any]:
    """An output that DVC leaves in place when it calls the stage, which may find it current."""
    return {path: {"persist": True}}


def dvc_yaml(params: dict[str, Any]) -> str:
    """dvc.yaml as text: a foreach over params.yaml's datasets and runs.

    DVC cannot take a list of dependencies from params.yaml, so the two stages that gather all runs
    list them; that is why the file is written by `hier compose` together with params.yaml. A
    stage's record is an output, so that dvc.lock holds its hash and `dvc pull` brings it along.
    """
    stages: dict[str, Any] = {}
    for stage in STAGES.values():
        key = "" if stage.each == "suite" else "${key}"
        names = {
            "run": "${key}",
            "dataset": "${key}" if stage.each == "dataset" else "${item.dataset}",
        }
        gathered = _gathered(stage, params["datasets"], params["runs"])
        outs: list[Any] = [_kept(path.format(**names)) for path in stage.outputs]
        record = _kept(stage.record.format(**names))
        body: dict[str, Any] = {
            "cmd": stage.command(key),
            "deps": [
                *(path.format(**names) for path in stage.inputs),
                *gathered,
                *stage.versioned(),
            ],
            "params": [path.format(**names) for path in stage.params],
        }
        measured = [out for out in outs if METRICS.format(**names) in out]
        if measured:
            body["metrics"] = measured
        body["outs"] = [*(out for out in outs if out not in measured), record]
        foreach = {"foreach": f"${{{stage.each}s}}", "do": body}
        stages[stage.name] = body if stage.each == "suite" else foreach
    head = "# Written by `hier compose` from src/hier/pipeline.py and the runs in params.yaml; do not edit.\n"
    return head + yaml.safe_dump(
        {"stages": stages, "plots": _plots(params)}, sort_keys=False, width=100
    )


def _plots(params: dict[str, Any]) -> list[dict[str, Any]]:
    """What `dvc plots show` draws: loss and, where training looked at it, recall over the epochs; and
    each run's hierarchy as a picture."""
    trained = {name: run for name, run in params["runs"].items() if run["schedule"]["epochs"]}
    looked = {name: run for name, run in trained.items() if run["protocol"]["test_every"]}
    column = {"held_out": "held-out R@1"}
    curves = {
        "loss": dict.fromkeys(trained, "loss"),
        "recall": {n: column.get(r["protocol"]["choose"], "test R@1") for n, r in looked.items()},
    }
    plots: list[dict[str, Any]] = [
        {
            title: {
                "x": "epoch",
                "y": {HISTORY.format(run=name): value for name, value in y.items()},
                "title": f"{title} while training",
            }
        }
        for title, y in curves.items()
        if y
    ]
    return plots + [{DISK.format(run=name): None} for name in params["runs"]]
