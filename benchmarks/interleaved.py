"""Comparisons within one process: all sides take turns, and the ratios of the rounds are judged."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from hier.ledger.environment import most_held, processor


@dataclass
class Turns:
    """Seconds of each round, by what was timed."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, work: Callable[[], object], share: float = 1.0) -> None:
        """Time `work`, which does a share of what is asked for."""
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.setdefault(name, []).append((time.perf_counter() - started) / share)

    def ratios(self, name: str, to: str) -> list[float]:
        return [a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])


class Table:
    """A Markdown table, printed row by row; `missed` says whether some figure missed its bound.

    Args:
        lenient: a ratio misses its bound where every round does, not where the median does: for few
            rounds on a machine that may have other work.
    """

    def __init__(self, lenient: bool = False) -> None:
        self.missed, self.lenient = False, lenient
        print("| setting | compared | median | spread | bound | seconds |")
        print("|---|---|---:|---:|---:|---:|", flush=True)

    def ratio(
        self,
        setting: object,
        turns: Turns,
        name: str,
        to: str,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Print the ratio of the times of `name` to those of `to`."""
        ratios = turns.ratios(name, to)
        median, least, most = statistics.median(ratios), min(ratios), max(ratios)
        self._row(
            f"{setting} | {name} / {to}",
            median,
            f"{least:.2f}–{most:.2f}",
            at_least,
            at_most,
            f"{turns.median(name):.2f} / {turns.median(to):.2f}",
        )
        small, large = (least, most) if self.lenient else (median, median)
        self.missed |= at_least is not None and not large >= at_least
        self.missed |= at_most is not None and not small <= at_most

    def figure(self, setting: object, name: str, value: float, at_most: float | None = None) -> None:
        """Print a figure that is no ratio of times."""
        self._row(f"{setting} | {name}", value, "", None, at_most, "")
        self.missed |= at_most is not None and not value <= at_most

    def _row(
        self,
        head: str,
        value: float,
        spread: str,
        at_least: float | None,
        at_most: float | None,
        seconds: str,
    ) -> None:
        bound = f"≥ {at_least:g}" if at_least else f"≤ {at_most:g}" if at_most else ""
        print(f"| {head} | {value:.2f} | {spread} | {bound} | {seconds} |", flush=True)

    def end(self) -> None:
        """Say what it was measured on; exit with 1 where a bound was missed."""
        load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
        print(f"\n{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, load {load}")
        if self.missed:
            print("a bound was missed", file=sys.stderr)
        sys.exit(self.missed)


def peak_memory(device: torch.device) -> int:
    """Bytes allocated on the GPU, or resident in this process, at the most so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return most_held()
