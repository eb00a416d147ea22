"""Progress of anything over two seconds: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """One task's progress; `update` may carry figures such as loss or images/s."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.started = self._last_line = time.monotonic()

    def update(self, advance: int = 1, **figures: float | str) -> None:
        self.done += advance
        now = time.monotonic()
        is_last = self.done == self.total and now - self.started >= 2
        if is_last or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.line(_figures(figures))

    def line(self, text: str = "") -> None:
        """Print one plain line now."""
        seconds = time.monotonic() - self.started
        left = seconds / max(self.done, 1) * (self.total - self.done)
        time_ = f"[{seconds:.0f} s, {left:.0f} s left]"
        print(f"{self.what}: {self.done}/{self.total} {text} {time_}", file=sys.stderr, flush=True)


class _Bar(Progress):
    def __init__(self, what: str, total: int) -> None:
        from rich import progress as bars
        from rich.console import Console

        super().__init__(what, total)
        shown = "{task.description}", bars.BarColumn(), bars.MofNCompleteColumn()
        columns = *shown, "{task.fields[figures]}", bars.TimeRemainingColumn()
        self.bars = bars.Progress(*columns, console=Console(stderr=True))
        self.task = self.bars.add_task(what, total=total, figures="")

    def update(self, advance: int = 1, **figures: float | str) -> None:
        self.done += advance
        self.bars.update(self.task, advance=advance, figures=_figures(figures))

    def line(self, text: str = "") -> None:
        self.bars.console.print(f"{self.what}: {text}", highlight=False)


def _figures(figures: dict[str, float | str]) -> str:
    return " ".join(
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
    )


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """Show the progress of `total` steps of `what` on standard error."""
    if sys.stderr.isatty():
        bar = _Bar(what, total)
        with bar.bars:
            yield bar
    else:
        yield Progress(what, total)


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield `items` one by one and show how far that has come."""
    with progress(what, len(items)) as shown:
        for item in items:
            yield item
            shown.update()
