"""Curves in the terminal, renewed every few seconds until every run is trained."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hier.watching.curves import Curve, Looker, State
from hier.watching.event_files import EventFiles

COLOURS = {State.TRAINING: "cyan", State.STOPPED: "yellow", State.NOT_BEGUN: "dim", State.TRAINED: "green"}
BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 24  # of a line of blocks, at most
AROUND = 6  # lines of a table that are no rows, and the caption


def watch(epochs: Mapping[str, int], every: int | None, event_files: Path | None = None) -> None:
    """Show runs, each with its number of epochs, until all are trained or Ctrl-C comes, looking again after
    `every` so many seconds; of None, or where standard output is no terminal, once.

    Raises DamagedInputError: a history.csv cannot be read; of `event_files`, what EventFiles does.
    """
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        files = stack.enter_context(EventFiles(event_files)) if event_files else None
        looks = _looks(Looker(epochs), files)
        curves = _follow(looks, every) if every and _is_terminal() else _look_once(looks)
        if all(curve.state is State.TRAINED for curve in curves):
            print(_all_trained([*epochs]))


def _looks(looker: Looker, files: EventFiles | None) -> Iterator[list[Curve]]:
    """What each look finds, written to the event files as well, if any."""
    while True:
        curves = looker.look()
        for curve in curves if files else ():
            files.add(curve)  # type: ignore[union-attr]
        yield curves


def _follow(looks: Iterator[list[Curve]], every: int) -> list[Curve]:
    """Show one look after the other in one place; the last, at which every run is trained."""
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        for curves in looks:
            live.update(_table_that_fits(curves, console.height), refresh=True)
            if all(curve.state is State.TRAINED for curve in curves):
                break
            time.sleep(every)
    return curves


def _look_once(looks: Iterator[list[Curve]]) -> list[Curve]:
    curves = next(looks)
    Console(width=None if Console().is_terminal else 170).print(table_of(curves))
    return curves


def _is_terminal() -> bool:
    """Whether what is shown can be shown anew in its place."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def _all_trained(runs: list[str]) -> str:
    if not runs:
        return "there is no run to watch"
    return f"{runs[0]} is trained" if len(runs) == 1 else f"all {len(runs)} runs are trained"


def _table_that_fits(curves: list[Curve], height: int) -> Table:
    """All runs or, where a terminal of so many lines cannot show them, first those that are being trained."""
    rows = max(1, height - AROUND)
    if len(curves) <= rows:
        return table_of(curves)
    order = list(State)
    shown = sorted(curves, key=lambda curve: order.index(curve.state))[:rows]
    table = table_of(shown)
    table.caption = f"{len(curves) - rows} more runs do not fit; name those to watch"
    return table


def table_of(curves: list[Curve]) -> Table:
    """A row for each run: how it stands, its epochs, what the last one gave, and the loss by epoch."""
    names = list(dict.fromkeys(name for curve in curves for name in curve.terms())) or ["loss"]
    table = Table()
    table.add_column("run", overflow="fold")
    table.add_column("state")
    for column in ("epoch", *names):
        table.add_column(column, justify="right")
    table.add_column("recall in percent", overflow="fold")
    table.add_column("loss by epoch", no_wrap=True)
    for curve in curves:
        terms = curve.terms()
        shown = (f"{terms[name]:.4g}" if name in terms else "–" for name in names)
        line = blocks([row["loss"] for row in curve.rows])
        state = f"[{COLOURS[curve.state]}]{curve.state}[/]"
        table.add_row(curve.run, state, _epoch(curve), *shown, _recall(curve), line)
    return table


def blocks(values: list[float]) -> str:
    """Values as blocks between the least and the greatest; of many, means of neighbours."""
    cells = min(WIDTH, len(values))
    ends = [len(values) * cell // cells for cell in range(cells + 1)] if cells else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low = min(means, default=0.0)
    step = (max(means, default=0.0) - low) / (len(BLOCKS) - 1)
    return "".join(BLOCKS[round((mean - low) / step) if step else 0] for mean in means)


def _epoch(curve: Curve) -> str:
    """Whole epochs of how many, and steps of the next one."""
    return f"{len(curve.rows)}/{curve.epochs}" + (f" + {curve.step} steps" if curve.step else "")


def _recall(curve: Curve) -> str:
    """What was seen at the last look, and after which epoch."""
    epoch, found = curve.recalls()
    said = ", ".join(f"{name} {100 * value:.2f}" for name, value in found.items())
    return f"{said} after epoch {epoch}" if said else "–"
