"""The runs of a suite as a table on the terminal, and what they will cost."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from hier.config.dataset import Dataset
from hier.config.run import Run
from hier.config.suite import Suite
from hier.data.sampling import steps_per_epoch
from hier.ledger.dvc_lock import AWAY
from hier.pipeline import EMBEDDINGS, METRICS, MODEL, STAGES
from hier.planning.rates import Rate, kept_rates, seconds_to_measure
from hier.training.looks import is_looked_at

EMBEDS_FASTER = 3.0  # a forward pass alone, where only the rate of training is given


def show(
    suite: Suite, images_per_second: float | None = None, measured: bool = False, compose: str = ""
) -> None:
    """Print one line per run (what it is, what it costs by `Hours`, how far it has come), then totals;
    `compose` is the command that writes this suite to params.yaml, where that holds another."""
    hours = Hours(suite, images_per_second, measured)
    table = Table(title=f"suite {suite.suite}: {len(suite.runs)} runs")
    for column in ("run", "dataset", "method", "backbone"):
        table.add_column(column, overflow="fold")
    for column in ("D", "seed", "epochs", "images × epochs", "hours"):
        table.add_column(column, justify="right")
    table.add_column("state")
    total = 0
    for run in suite.runs.values():
        training, _ = images_of(run, suite.dataset(run.dataset))
        total += training
        table.add_row(
            run.name, run.dataset, run.method, run.backbone.name, str(run.dim), str(run.seed),
            str(run.schedule.epochs), f"{training:,}", _hours(hours.of(run)), state(run.name),
        )  # fmt: skip
    console = Console(width=None if Console().is_terminal else 170)
    console.print(table)
    for dataset in suite.datasets.values():
        console.print(f"{dataset.name}: {sizes(dataset)}", highlight=False)
    console.print(f"{total:,} training images in all, {hours.describe()}", highlight=False)
    command = " && ".join(filter(None, (compose, "snakemake --cores all")))
    console.print(f"run them with: {command}", highlight=False, markup=False, soft_wrap=True)


def images_of(run: Run, dataset: Dataset) -> tuple[int, int]:
    """Images trained on over all epochs, and images embedded: at the end, once more for features, and at
    every look."""
    trained, looked_at, embedded = images_by_stage(run, dataset)
    return trained, looked_at + embedded


def images_by_stage(run: Run, dataset: Dataset) -> tuple[int, int, int]:
    """Images trained on over all epochs, those embedded at looks meanwhile, and those embedded at the end."""
    counts = {str(split): images for split, images in dataset.counts.images.items()}
    classes = dataset.counts.train_classes
    if part := dataset.subset:
        counts = {split: min(n, part.classes * part.images) for split, n in counts.items()}
        classes = min(classes, part.classes)
    test = sum(images for split, images in counts.items() if split != "train")
    steps = steps_per_epoch(counts["train"], classes, run.sampler) * run.schedule.epochs
    looks = sum(is_looked_at(run, epoch) for epoch in range(run.schedule.epochs))
    return steps * run.sampler.batch_size, test * looks, test * (1 + run.embed.features)


class Hours:
    """Hours of a suite's runs, all trained at `images_per_second` or else at the rates of this machine:
    `measured` now, in some seconds each, and kept, or kept before."""

    def __init__(self, suite: Suite, images_per_second: float | None = None, measured: bool = False) -> None:
        self.suite, self.given, self.measured = suite, images_per_second, measured
        self.rates: dict[str, Rate] = {}
        if images_per_second is None and measured:
            from hier.planning.throughput import measured_rates

            self.rates = measured_rates(suite.runs.values())
        elif images_per_second is None:
            self.rates = kept_rates(suite.runs.values())

    def of(self, run: Run) -> float | None:
        """Hours of one run; None where there is not a rate for every run of the suite."""
        training, embedded = images_of(run, self.suite.dataset(run.dataset))
        if self.given is not None:
            return (training + embedded / EMBEDS_FASTER) / self.given / 3600
        if self.rates.keys() != self.suite.runs.keys():
            return None
        rate = self.rates[run.name]
        trained = training / rate.training if rate.training else 0.0
        return (trained + embedded / rate.embedding) / 3600

    def total(self) -> float:
        """Hours of all runs, one after the other on one device."""
        return sum(self.of(run) or 0.0 for run in self.suite.runs.values())

    def describe(self) -> str:
        """The sum, and where the rates are from."""
        runs = self.suite.runs.values()
        if any(self.of(run) is None for run in runs):
            return (
                "hours unknown: give --images-per-second N, or --measure this machine "
                f"(takes about {seconds_to_measure(runs)} s)"
            )
        total = f"{_hours(self.total())} hours on"
        if self.given is not None:
            return f"{total} one device at {self.given:g} images/s"
        when = " and ".join(sorted({f"{r.date} on {r.device}" for r in self.rates.values()}))
        anew = "" if self.measured else "; --measure measures anew"
        return f"{total} this machine, as measured on {when}{self._by_backbone()}{anew}"

    def _by_backbone(self) -> str:
        """Each backbone and image size with its rate, or the least and the greatest of its rates."""
        found: dict[str, set[float]] = {}
        for run in self.suite.runs.values():
            if rate := self.rates[run.name].training:
                name = f"{run.backbone.name} {run.augmentation.size} px"
                found.setdefault(name, set()).add(rate)
        ends = {name: dict.fromkeys((min(of), max(of))) for name, of in found.items()}
        told = [f"{name} {' to '.join(map(_rate, of))}" for name, of in ends.items()]
        return f" (images/s in training: {', '.join(told)})" if told else ""


def sizes(dataset: Dataset) -> str:
    """What the dataset takes: to download, and on disk once prepared."""
    images = sum(dataset.counts.images.values())
    if dataset.subset:
        return f"{images:,} images, of which a subset is taken"
    known = [[file.bytes or 0 for file in source.files] for source in dataset.sources]
    whole = next((f"{sum(each) / 1e9:.2f} GB to download" for each in known if all(each)), None)
    fetched = whole or ("download of unknown size" if dataset.sources else "drawn on the spot")
    if any(file.folder for source in dataset.sources for file in source.files):
        fetched = "read where they lie"
    if dataset.store_size == "exact":
        return f"{images:,} images, {fetched}, three bytes a pixel prepared"
    store = images * dataset.store_size**2 * 4 / 3 * 3  # most photos are 4:3 or squarer
    return f"{images:,} images, {fetched}, at most {store / 1e9:.1f} GB prepared"


def state(run: str) -> str:
    """How far a run has come, by the files it has; git brings the metrics without their record."""
    words = {STAGES["evaluate"].record: "evaluated", EMBEDDINGS: "embedded", MODEL: "trained", METRICS: AWAY}
    there = (word for path, word in words.items() if Path(path.format(run=run)).exists())
    return next(there, "not run")


def _hours(hours: float | None) -> str:
    return "–" if hours is None else f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
