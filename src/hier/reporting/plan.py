"""The runs of a suite as a table on the terminal, and what they will cost."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from hier.config.dataset import Dataset
from hier.config.run import Run
from hier.config.suite import Suite
from hier.pipeline import EMBEDDINGS, METRICS, MODEL

EMBEDS_FASTER = 3.0  # a forward pass alone, where only the rate of training is given


def show(suite: Suite, images_per_second: float | None = None, measured: bool = False) -> None:
    """Print one line per run (what it is, what it costs, how far it has come), then totals.

    Args:
        images_per_second: of training, for every run alike; None leaves the hours out.
        measured: measure each backbone on this machine instead, which takes some seconds.
    """
    hours = Hours(images_per_second, measured)
    table = Table(title=f"suite {suite.suite}: {len(suite.runs)} runs")
    for column in ("run", "dataset", "method", "backbone"):
        table.add_column(column, overflow="fold")
    for column in ("D", "seed", "epochs", "images × epochs", "hours"):
        table.add_column(column, justify="right")
    table.add_column("state")
    total, total_hours = 0, 0.0
    for run in suite.runs.values():
        training, looked_at = images_of(run, suite.dataset(run.dataset))
        total += training
        spent = hours.of(run, training, looked_at)
        total_hours += spent or 0.0
        table.add_row(
            run.name, run.dataset, run.method, run.backbone.name, str(run.dim), str(run.seed),
            str(run.schedule.epochs), f"{training:,}", _hours(spent), state(run.name),
        )  # fmt: skip
    console = Console(width=None if Console().is_terminal else 170)
    console.print(table)
    for dataset in suite.datasets.values():
        console.print(f"{dataset.name}: {sizes(dataset)}", highlight=False)
    console.print(
        f"{total:,} training images in all, {hours.in_words(total_hours)}", highlight=False
    )
    console.print("run them with: snakemake --cores all", highlight=False)


def images_of(run: Run, dataset: Dataset) -> tuple[int, int]:
    """Images trained on over all epochs, and images embedded (at the end, and at every look)."""
    counts = {str(split): images for split, images in dataset.counts.images.items()}
    test = sum(images for split, images in counts.items() if split != "train")
    epochs, every = run.schedule.epochs, run.protocol.test_every
    steps = counts["train"] // run.sampler.batch_size
    looks = -(-epochs // every) if every else 0
    return steps * run.sampler.batch_size * epochs, test * (1 + looks)


class Hours:
    """Hours of a run from a rate that is given or measured, once for each backbone and image size."""

    def __init__(self, images_per_second: float | None, measured: bool) -> None:
        self.given, self.measured = images_per_second, measured
        self.known: dict[tuple[str, int], tuple[float, float]] = {}

    def of(self, run: Run, training: int, embedded: int) -> float | None:
        """None where no rate is known."""
        if self.given is None and not self.measured:
            return None
        train_rate, embed_rate = self._rates(run)
        return (training / train_rate + embedded / embed_rate) / 3600

    def _rates(self, run: Run) -> tuple[float, float]:
        if self.given is not None:
            return self.given, EMBEDS_FASTER * self.given
        key = (run.backbone.timm.partition(".")[0], run.augmentation.size)
        if key not in self.known:
            from hier.training.throughput import measure

            found = measure(run)
            self.known[key] = (found.training, found.embedding)
        return self.known[key]

    def in_words(self, total: float) -> str:
        """The sum, and where the rate is from."""
        if self.given is not None:
            return f"{_hours(total)} hours on one device at {self.given:g} images/s"
        if not self.measured:
            return "hours unknown: give --images-per-second N, or --measure this machine"
        rates = ", ".join(
            f"{name} {size} px {rate:.3g}" for (name, size), (rate, _) in self.known.items()
        )
        return f"{_hours(total)} hours on this machine, as measured (images/s in training: {rates})"


def sizes(dataset: Dataset) -> str:
    """What the dataset takes: to download, and on disk once prepared."""
    images = sum(dataset.counts.images.values())
    # Most photos are 4:3 or squarer; three bytes a pixel.
    store = images * dataset.store_size**2 * 4 / 3 * 3
    if dataset.subset:
        return f"{images:,} images, of which a subset is taken"
    fetched = "drawn on the spot"
    if dataset.sources:
        known = [[file.bytes for file in source.files] for source in dataset.sources]
        whole = next((sum(b) for b in known if all(b)), None)  # type: ignore[arg-type]
        fetched = f"{whole / 1e9:.2f} GB to download" if whole else "download of unknown size"
    return f"{images:,} images, {fetched}, at most {store / 1e9:.1f} GB prepared"


def state(run: str) -> str:
    """How far a run has come, by the files it has."""
    for path, word in ((METRICS, "evaluated"), (EMBEDDINGS, "embedded"), (MODEL, "trained")):
        if Path(path.format(run=run)).exists():
            return word
    return "not run"


def _hours(hours: float | None) -> str:
    return "–" if hours is None else f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"
