"""A run's history.csv as the pages show it: terms of the loss, learning rates, recall, and in words."""

from pathlib import Path
from typing import Any

import pandas as pd

from hier.config.run import Run
from hier.ledger.artifacts import reading


def read_history(path: Path) -> pd.DataFrame:
    """A run's history.csv: a row per epoch, in which `epoch`, `loss` and `rate` are numbers and others
    may be missing.

    Raises:
        DamagedInputError: it is not that.
    """
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
    """Learning rate of each parameter group per epoch, as training/optimisation.py sets them.

    While warming up, the backbone takes no step: its rate is 0.
    """
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
    """What the curves of a run show: for each panel `title`, `unit`, `epoch`, `lines` by name
    (numbers, or None where an epoch has none) and `words`, which say what a reader would see."""
    if not len(history):
        return []
    parts = [
        ("Loss", "mean over the epoch's steps", terms(history)),
        ("Learning rate", "per parameter group", learning_rates(history, run)),
        ("Recall while training", "percent", recalls(history)),
    ]
    epoch = [int(value) for value in history["epoch"]]
    return [
        {
            "title": title,
            "unit": unit,
            "epoch": epoch,
            "lines": {str(name): _numbers(part[name]) for name in part},
            "words": " ".join(_in_words(str(name), part[name], history["epoch"]) for name in part),
        }
        for title, unit, part in parts
        if len(part.columns)
    ]


def _numbers(column: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else float(f"{value:.6g}") for value in column]


def _in_words(name: str, column: pd.Series, epoch: pd.Series) -> str:
    """From where to where a line goes."""
    there = column.dropna()
    first, last = there.iloc[0], there.iloc[-1]
    at = f"epoch {int(epoch[there.index[0]])}", f"epoch {int(epoch[there.index[-1]])}"
    if (there == first).all():
        return f"{name}: {first:.3g} throughout."
    way = "rises" if last > first else "falls" if last < first else "goes"
    return f"{name}: {way} from {first:.3g} at {at[0]} to {last:.3g} at {at[1]}."
