"""The pipeline as data: each stage's inputs, outputs, code and parameters, in one place.

dvc.yaml (see dvc_view.py) and the Snakefile are two views of `STAGES`. Paths may hold `{dataset}`
and `{run}`; parameters are dotted keys of the settings (see hier.config.params).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hier.config.params import FOLDER, PARAMS

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
TABLES_MADE = (TABLE_CSV, TABLE_MD, LAYOUT_CSV, LAYOUT_MD, LAYOUT_TEX)
REPORT = "results/report"
PAGE = f"{REPORT}/index.html"
DISK = f"{REPORT}/figures/{{run}}-disk.svg"
EXPECTED = "expected"
SETTINGS = (str(PARAMS), str(FOLDER))  # of the suite, all of them

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
    `packages` the libraries whose versions do, and `reads` other files and folders under version
    control; the stages that gather all runs read all settings as files, since DVC would parse each
    of them anew for a key in it. `in_git` are outputs that git keeps, and DVC's cache does not: small
    figures, which a clone without DVC's cache should show and compare.
    """

    name: str
    each: Literal["dataset", "run", "suite"]
    outputs: tuple[str, ...]
    params: tuple[str, ...]
    code: tuple[str, ...]
    packages: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    gathers: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    in_git: tuple[str, ...] = ()
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
        return [f"{SRC}stages/{self.name}.py", *(SRC + path for path in self.code), *self.reads]


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
            code=(
                "data/archive.py", "data/demo.py", "data/download.py", "data/fetch.py",
                "data/packing.py", "data/sources.py",
            ),
            packages=("numpy", "pillow"),
        ),
        Stage(
            "prepare",
            each="dataset",
            inputs=(ARCHIVE,),
            outputs=(INDEX, STORE),
            params=_of_dataset(
                "layout", "limits", "superclass", "counts", "exclude", "subset", "image_size",
                "store_size", "exif",
            ),
            code=(
                "data/archive.py", "data/index.py", "data/layouts", "data/packing.py", "data/pixels.py",
                "data/prepare.py", "data/store.py", "data/subset.py",
            ),
            packages=("numpy", "pillow", *TABLES, "scipy"),
        ),
        Stage(
            "train",
            each="run",
            gpu=True,
            inputs=(INDEX, STORE),
            outputs=(MODEL, PROXIES, HISTORY),
            in_git=(HISTORY,),
            params=_of_run(
                "seed", "backbone", "head", "loss", "regularizer", "optimizer", "schedule",
                "sampler", "augmentation", "embed", "evaluate", "protocol", *NUMERICS, "runtime.compile",
            )
            + _of_dataset("ks"),
            code=(
                "data/augmentation.py", "data/index.py", "data/loading.py", "data/pixels.py",
                "data/sampling.py", "data/store.py", "evaluation/retrieval/embed.py",
                "evaluation/retrieval/queries_and_gallery.py", "evaluation/retrieval/ranks.py",
                "evaluation/retrieval/recall.py", "seeding.py",
                "geometry", "losses", "models", "ledger/artifacts.py", "training",
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
                "data/augmentation.py", "data/index.py", "data/loading.py", "data/pixels.py",
                "data/store.py", "evaluation/retrieval/embed.py", "geometry", "models",
                "ledger/artifacts.py",
                "training/determinism.py",
            ),
            packages=(*NETWORKS, *TABLES),
        ),
        Stage(
            "evaluate",
            each="run",
            inputs=(INDEX, EMBEDDINGS, HISTORY, PROXIES),
            outputs=(METRICS, VIEWS),
            in_git=(METRICS,),
            params=_of_run("head", "regularizer", "evaluate", "protocol", "runtime.threads")
            + _of_dataset("ks", "levels"),
            code=("data/index.py", "evaluation", "seeding.py", "geometry", "ledger/artifacts.py"),
            packages=("faiss-cpu", "numpy", *TABLES, "safetensors", "scikit-learn", "scipy", "torch"),
        ),
        Stage(
            "tabulate",
            each="suite",
            reads=(EXPECTED, *SETTINGS),
            gathers=(METRICS,),
            outputs=TABLES_MADE,
            in_git=TABLES_MADE,
            params=(),
            code=(
                "results/measures.py", "ledger/dvc_lock.py", "results/grades.py",
                "results/best.py", "results/paper_table.py", "results/table.py", "ledger/artifacts.py",
            ),
            packages=("pandas", "scipy"),
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
    params=(),
    reads=SETTINGS,
    code=_all_of(
        STEPS.values(),
        *("audit/audit.py", "ledger/output_cache.py", "ledger/dvc_lock.py"),
        *("audit/lineage.py", "reporting"),
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

    @property
    def in_git(self) -> tuple[str, ...]:
        """The outputs that git keeps."""
        named = zip(self.outputs, self.stage.outputs, strict=True)
        return tuple(path for path, template in named if template in self.stage.in_git)


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

    taken: tuple[str, ...] = ()
    if stage.gathers:
        had = [name for name in params["datasets"] if not no_data(name).exists()]
        runs = [run for run, settings in params["runs"].items() if settings["dataset"] in had]
        taken = gathered(stage, had, runs)
    return Job(
        stage,
        key,
        fill(stage.inputs) + taken,
        fill(stage.outputs),
        fill(stage.params),
        Path(stage.record.format(**names)),
    )


def gathered(stage: Stage, datasets: Iterable[str], runs: Iterable[str]) -> tuple[str, ...]:
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
