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
        self.started = time.monotonic()
        self._last_line = self.started

    def update(self, advance: int = 1, **figures: float | str) -> None:
        self.done += advance
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES or (
            self.done == self.total and now - self.started >= 2
        ):
            self._last_line = now
            self.line(_figures(figures))

    def line(self, text: str = "") -> None:
        """Print one plain line now."""
        seconds = time.monotonic() - self.started
        left = seconds / max(self.done, 1) * (self.total - self.done)
        print(
            f"{self.what}: {self.done}/{self.total} {text} [{seconds:.0f} s, {left:.0f} s left]",
            file=sys.stderr,
            flush=True,
        )


class _Bar(Progress):
    def __init__(self, what: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__(what, total)
        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
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
