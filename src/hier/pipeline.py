"""The pipeline as data: each stage's inputs, outputs, code and parameters, declared once.

The commands, dvc.yaml (see dvc_view.py) and the Snakefile's rules follow `STAGES`. Paths may hold
`{dataset}`, `{run}` and `{suite}`; those of code also what a run or dataset chooses (`{loss}`). Parameters
are dotted keys of the settings (see hier.config.settings).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

ARCHIVE = "data/{dataset}/archive"
INDEX = "data/{dataset}/index.parquet"
STORE = "data/{dataset}/images.npy"
MODEL = "runs/{run}/model.safetensors"
PROXIES = "runs/{run}/proxies.safetensors"
HISTORY = "runs/{run}/history.csv"
EMBEDDINGS = "runs/{run}/embeddings.safetensors"
METRICS = "runs/{run}/metrics.json"
CLASSES = "runs/{run}/classes.csv"
VIEWS = "runs/{run}/views.json"
RESULTS = "results/{suite}"
TABLE_CSV = f"{RESULTS}/table.csv"
LAYOUT_CSV = f"{RESULTS}/paper_layout.csv"
LAYOUT_TEX = f"{RESULTS}/paper_layout.tex"
COMPARISONS = f"{RESULTS}/comparisons.csv"
TABLES_MADE = (
    TABLE_CSV,
    f"{RESULTS}/table.md",
    COMPARISONS,
    LAYOUT_CSV,
    f"{RESULTS}/paper_layout.md",
    LAYOUT_TEX,
)
REPORT = f"{RESULTS}/report"
PAGE = f"{REPORT}/index.html"
DISK = f"{REPORT}/figures/{{run}}-disk.svg"
EXPECTED = "expected"
PAPER = f"{EXPECTED}/paper.csv"
REFERENCE = f"{EXPECTED}/{{suite}}.csv"
# A suite's own settings. The stages of a suite read them as files: DVC would parse each anew for a key.
SETTINGS = tuple(f"params/{kind}s/{{{kind}}}.yaml" for kind in ("suite", "dataset", "run"))

SRC = "src/hier/"
Scope = Literal["dataset", "run", "suite"]


def _keys(kind: str, *groups: str) -> tuple[str, ...]:
    return tuple(f"{kind}.{group}" for group in groups)


_of_run, _of_dataset = partial(_keys, "runs.{run}"), partial(_keys, "datasets.{dataset}")

# Of the runtime, what can change a number; how many processes load images or train cannot.
ON_CPU = _keys("runtime", "kernels", "threads")
NUMERICS = (*ON_CPU, *_keys("runtime", "device", "precision", "tf32", "cudnn_benchmark"))

TABLES = ("pandas", "pandera", "pyarrow")
NETWORKS = ("numpy", "pillow", "safetensors", "timm", "torch", "torchvision")

# A part that is chosen (losses/pa.py) counts for those alone that choose it, what parts share for all.
LOSSES = (
    "losses/ancestors.py", "losses/hier.py", "losses/images_to_proxies.py", "losses/library.py",
    "losses/memory.py", "losses/pairwise.py", "losses/triplets.py", "losses/{loss}.py",
)  # fmt: skip
MODELS = (
    "models/network.py", "models/normalise.py", "models/pooling/{pooling}.py", "models/token_linear.py",
    "models/torchvision_ops.py", "models/weights.py", "registry.py",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One arrow of the data flow: one module in stages/, one command, one Snakemake rule, one DVC stage."""

    name: str
    scope: Scope  # what it runs once for
    help: str  # what it does, for `hier --help`
    outputs: tuple[str, ...]
    params: tuple[str, ...]
    code: tuple[str, ...]  # files and folders below src/hier/ whose change makes the outputs stale
    packages: tuple[str, ...]  # libraries whose versions do
    inputs: tuple[str, ...] = ()
    fan_in: tuple[str, ...] = ()  # inputs taken from every dataset or run of the suite
    tracked_files: tuple[str, ...] = ()  # other files and folders under version control
    references: tuple[str, ...] = ()  # the same, of files that count from when they are there
    in_git: tuple[str, ...] = ()  # small outputs, which a clone without DVC's cache should show
    directory: bool = False  # whether the one output is a folder
    gpu: bool = False  # whether it works on a GPU, where there is one

    def command(self, key: str) -> str:
        return f"hier {self.name} {key}"

    @property
    def record(self) -> str:
        """Where the record of what went in and what came out lies, beside the outputs."""
        return f"{self.outputs[0].rpartition('/')[0]}/{self.name}.record.json"

    def read_from_git(self) -> list[str]:
        """What it reads that is under version control: its own module first, then what that uses."""
        code = (f"stages/{self.name}.py", *self.code)
        return [*(SRC + path for path in code), *self.tracked_files]


STEPS: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "download", "dataset",
            help="Draw or fetch DATASET's archive and verify it → data/DATASET/archive/",
            outputs=(ARCHIVE,), directory=True,
            params=_of_dataset("generate", "sources"),
            code=(
                "data/archive.py", "data/demo.py", "data/download.py", "data/fetch.py",
                "data/in_place.py", "data/listed.py", "data/retries.py", "kernels.py",
            ),
            packages=("numpy", "pillow"),
        ),
        Stage(
            "prepare", "dataset",
            help="Unpack and check DATASET → data/DATASET/index.parquet, images.npy",
            inputs=(ARCHIVE,),
            outputs=(INDEX, STORE),
            params=_of_dataset(
                "layout", "limits", "superclass", "counts", "unseen", "columns", "exclude",
                "subset", "image_size", "store_size", "exif",
            ),
            code=(
                "data/archive.py", "data/in_place.py", "data/index.py", "data/layouts/__init__.py",
                "data/layouts/{layout}.py", "data/layouts/sides.py", "data/layouts/{shared}.py",
                "data/pixels.py", "data/prepare.py", "data/store.py", "kernels.py", "registry.py",
            ),
            packages=("numpy", "pillow", *TABLES, "scipy"),
        ),
        Stage(
            "train", "run",
            help="Train RUN → runs/RUN/model.safetensors, proxies.safetensors, history.csv",
            gpu=True,
            inputs=(INDEX, STORE),
            outputs=(MODEL, PROXIES, HISTORY),
            in_git=(HISTORY,),
            params=_of_run(
                "seed", "backbone", "head", "loss", "regularizer", "optimizer", "schedule",
                "sampler", "augmentation", "embed", "evaluate", "protocol", *NUMERICS, "runtime.compile",
            )
            + _of_dataset("ks", "exif", "store_size"),
            code=(
                "data/augmentation.py", "data/index.py", "data/loading.py", "data/pixels.py",
                "data/sampling.py", "data/store.py", "geometry", *LOSSES, *MODELS, "seeding.py",
                "kernels.py", "ledger/artifacts.py", "models/description.py", "training", "{search}",
            ),
            packages=(*NETWORKS, *TABLES, "pytorch-metric-learning"),
        ),
        Stage(
            "embed", "run",
            help="Embed the test images with RUN's model → runs/RUN/embeddings.safetensors",
            gpu=True,
            inputs=(INDEX, STORE, MODEL),
            outputs=(EMBEDDINGS,),
            params=_of_run("backbone", "head", "embed", *NUMERICS),
            code=(
                "data/augmentation.py", "data/index.py", "data/loading.py", "data/pixels.py",
                "data/store.py", "evaluation/retrieval/embed.py", "geometry", *MODELS,
                "kernels.py", "ledger/artifacts.py", "training/determinism.py",
            ),
            packages=(*NETWORKS, *TABLES),
        ),
        Stage(
            "evaluate", "run",
            help="Measure RUN's embeddings → runs/RUN/metrics.json, classes.csv",
            inputs=(INDEX, EMBEDDINGS, HISTORY, PROXIES),
            outputs=(METRICS, CLASSES),
            in_git=(METRICS, CLASSES),
            params=_of_run("head", "regularizer", "evaluate", "protocol", *ON_CPU)
            + _of_dataset("ks", "levels"),
            code=(
                "data/index.py", "evaluation/classes.py", "evaluation/hierarchy", "evaluation/retrieval",
                "seeding.py", "geometry", "kernels.py", "ledger/artifacts.py", "results/measures.py",
            ),
            packages=("numpy", *TABLES, "safetensors", "scipy", "torch"),
        ),
        Stage(
            "views", "run",
            help="Lay out what pages draw of RUN: disk, tree, neighbours → runs/RUN/views.json",
            inputs=(INDEX, EMBEDDINGS, PROXIES),
            outputs=(VIEWS,),
            params=_of_run("head", "regularizer", "evaluate", "protocol", *ON_CPU) + _of_dataset("levels"),
            code=(
                "data/index.py", "evaluation", "seeding.py", "geometry", "kernels.py",
                "ledger/artifacts.py",
            ),
            packages=("numpy", *TABLES, "safetensors", "scikit-learn", "scipy", "torch"),
        ),
        Stage(
            "tabulate", "suite",
            help="Gather all runs of SUITE in one graded table → results/SUITE/table.csv, table.md",
            tracked_files=(PAPER, *SETTINGS),
            references=(REFERENCE,),
            fan_in=(METRICS, CLASSES),
            outputs=TABLES_MADE,
            in_git=TABLES_MADE,
            params=(),
            code=(
                "kernels.py", "ledger/artifacts.py", "ledger/dvc_lock.py", "losses/{loss}.py", "registry.py",
                "results/cells.py", "results/classes.py", "results/comparisons.py", "results/expected.py",
                "results/grades.py", "results/means.py", "results/measures.py", "results/paired.py",
                "results/paper.py", "results/spread.py", "results/table.py",
            ),
            packages=("numpy", "pandas", "scipy"),
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
    "report", "suite",
    help="Make SUITE's pages: table, runs, hierarchies → results/SUITE/report/index.html",
    inputs=(TABLE_CSV, LAYOUT_CSV, LAYOUT_TEX, COMPARISONS),
    fan_in=(ARCHIVE, INDEX, STORE, MODEL, PROXIES, HISTORY, EMBEDDINGS, METRICS, VIEWS),
    outputs=(REPORT,),
    directory=True,
    params=(),
    tracked_files=SETTINGS,
    code=_all_of(
        STEPS.values(), "audit/audit.py", "audit/lineage.py", "audit/origins.py", "ledger/dvc_lock.py",
        "config/sweep.py", "ledger/output_cache.py", "reporting", "results/compare.py", "results/sweep.py",
    ),
    packages=tuple(sorted({"jinja2", "matplotlib"}.union(*(step.packages for step in STEPS.values())))),
)  # fmt: skip

STAGES: dict[str, Stage] = {**STEPS, "report": REPORT_STAGE}
