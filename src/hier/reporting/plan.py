"""The runs of a suite as a table on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from hier.config.suite import Suite
from hier.pipeline import EMBEDDINGS, METRICS, MODEL


def show(suite: Suite) -> None:
    """Print one line per run: what it is, what it costs, how far it has come."""
    table = Table(title=f"suite {suite.suite}: {len(suite.runs)} runs")
    for column in ("run", "dataset", "method", "backbone"):
        table.add_column(column, overflow="fold")
    for column in ("D", "seed", "epochs", "images × epochs"):
        table.add_column(column, justify="right")
    table.add_column("state")
    total = 0
    for run in suite.runs.values():
        images = suite.dataset(run.dataset).counts.images["train"] * run.schedule.epochs
        total += images
        table.add_row(
            run.name, run.dataset, run.method, run.backbone.name, str(run.dim), str(run.seed),
            str(run.schedule.epochs), f"{images:,}", state(run.name),
        )  # fmt: skip
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    console.print(f"{total:,} training images in all; run them with: snakemake --cores all")


def state(run: str) -> str:
    """How far a run has come, by the files it has."""
    for path, word in ((METRICS, "evaluated"), (EMBEDDINGS, "embedded"), (MODEL, "trained")):
        if Path(path.format(run=run)).exists():
            return word
    return "not run"
