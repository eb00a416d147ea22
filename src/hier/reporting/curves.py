"""Figures as SVG text, the same bytes each time."""

from io import StringIO

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

# Text as text (searchable, small) and ids that do not vary.
mpl.rcParams.update({"svg.hashsalt": "hier", "svg.fonttype": "none"})


def training_curves(history: pd.DataFrame) -> str:
    """The mean of each term of the loss over the epochs, for one run."""
    figure = Figure(figsize=(5.2, 2.6))
    # By hand: a layout that fits itself draws everything twice.
    figure.subplots_adjust(left=0.13, right=0.97, bottom=0.19, top=0.96)
    axes = figure.add_subplot()
    styles = {"loss": "-", "metric": "--", "hier": ":"}
    for term, style in styles.items():
        if term in history and not (term == "metric" and "hier" not in history):
            axes.plot(history["epoch"], history[term], style, label=term)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    return svg(figure)


def svg(figure: Figure) -> str:
    """A figure as an <svg> element."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
