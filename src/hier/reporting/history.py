"""A run's history.csv as the pages show it: loss, learning rates and recall as curves, and in words."""

from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from hier.config.run import Run
from hier.ledger.artifacts import reading

# Text as text (searchable, small), in one font rather than a list at each word; ids that do not vary.
mpl.rcParams.update({"svg.hashsalt": "hier", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]})

# Okabe and Ito's colours, which colour-blind readers tell apart, each with a dash of its own.
STYLES = (
    ("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":"), ("#cc79a7", "-."), ("#000000", "-"),
    ("#e69f00", "--"),
)  # fmt: skip


def read_history(path: Path) -> pd.DataFrame:
    """A run's history.csv: a row per epoch, in which `epoch`, `loss` and `rate` are numbers and others may
    be missing; DamagedInputError where it is not that."""
    needed = ["epoch", "loss", "rate"]
    with reading(path):
        history = pd.read_csv(path)
        if lacking := [name for name in needed if name not in history]:
            raise ValueError(f"it has no column {lacking[0]}")
        for name in history:
            pd.to_numeric(history[name])
        if history[needed].isna().any(axis=None) or history["epoch"].duplicated().any():
            raise ValueError("an epoch occurs twice, or lacks its number, loss or rate")
        return history


def terms(history: pd.DataFrame) -> pd.DataFrame:
    """Mean of the loss and of its terms per epoch; of a loss with one term, the loss alone."""
    names = [name for name in ("metric", "hier") if name in history]
    return history[["loss", *(names if len(names) > 1 else [])]]


def learning_rates(history: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Learning rate of each parameter group per epoch, as training/optimisation.py sets them. While warming
    up, the backbone takes no step: its rate is 0."""
    of, factor = run.optimizer.multipliers, history["rate"]
    warm = history["epoch"] > run.schedule.warmup_epochs
    groups = {"backbone": of.backbone * factor.where(warm, 0.0)}
    if run.head:
        groups["head"] = of.head * factor
    if run.regularizer.name == "hier":
        groups["hierarchical proxies"] = of.hierarchical_proxies * factor
    if run.loss.learns_proxies:
        groups["metric proxies"] = of.metric_proxies * factor
    return pd.DataFrame(groups) * run.optimizer.lr


def recalls(history: pd.DataFrame) -> pd.DataFrame:
    """Recall@K in percent of the epochs that training looked at; no columns where it never did."""
    names = [name for name in history if name.startswith(("test R@", "held-out R@"))]
    return 100 * history[names].dropna(axis=1, how="all")


def panels(history: pd.DataFrame, run: Run) -> list[dict[str, Any]]:
    """What the curves of a run show, see :func:`panel`."""
    if not len(history):
        return []
    parts = [
        ("Loss", "mean over the epoch's steps", terms(history)),
        ("Learning rate", "per parameter group", learning_rates(history, run)),
        ("Recall while training", "percent", recalls(history)),
    ]
    found = []
    for title, unit, part in parts:
        if len(part.columns):
            lines = part.set_axis(history["epoch"])
            words = [_in_words(name, lines[name].dropna()) for name in lines]
            found.append(panel(title, unit, lines.map(lambda of: float(f"{of:.6g}")), words))
    return found


def panel(title: str, unit: str, lines: pd.DataFrame, words: Iterable[str]) -> dict[str, Any]:
    """`title`, `unit`, `epoch`, `lines` (columns by epoch) by name, as numbers or None where an epoch has
    none, and `words`, which say what a reader would see."""
    numbers = lines.astype(object).where(lines.notna(), None).to_dict("list")
    epoch, said = [int(epoch) for epoch in lines.index], " ".join(words)
    return {"title": title, "unit": unit, "epoch": epoch, "lines": numbers, "words": said}


def _in_words(name: str, there: pd.Series) -> str:
    """From where to where a line goes."""
    first, last = there.iloc[0], there.iloc[-1]
    if (there == first).all():
        return f"{name}: {first:.3g} throughout."
    way = "rises" if last > first else "falls" if last < first else "goes"
    start, end = map(int, there.index[[0, -1]])
    return f"{name}: {way} from {first:.3g} at epoch {start} to {last:.3g} at epoch {end}."


def training_curves(panels: list[dict[str, Any]]) -> Figure:
    """One axes for each panel, see :func:`panel`."""
    figure = Figure(figsize=(3.6 * len(panels), 2.6))
    # By hand: a layout that fits itself draws everything twice.
    figure.subplots_adjust(left=0.55 / 3.6 / len(panels) + 0.02, right=0.98, bottom=0.2, top=0.88)
    figure.subplots_adjust(wspace=0.28)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for at, (name, values) in enumerate(panel["lines"].items()):
            colour, dash = STYLES[at % len(STYLES)]
            there = [(x, y) for x, y in zip(panel["epoch"], values, strict=True) if y is not None]
            marker = "o" if len(there) == 1 else ""
            axes.plot(*zip(*there, strict=True), dash, color=colour, marker=marker, label=name)
        axes.set(xlabel="epoch", title=panel["title"])
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def svg(figure: Figure) -> str:
    """A figure as an SVG document, without the date on which it was made."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
