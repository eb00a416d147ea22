"""Curves of a run's training as a figure for papers: SVG text, the same bytes each time."""

from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Text as text (searchable, small), in one font rather than a list at each word; ids that do not vary.
mpl.rcParams.update(
    {"svg.hashsalt": "hier", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
)

# Okabe and Ito's colours, which colour-blind readers tell apart, each with a dash of its own.
STYLES = (
    ("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":"), ("#cc79a7", "-."), ("#000000", "-"),
    ("#e69f00", "--"),
)  # fmt: skip


def training_curves(panels: list[dict[str, Any]]) -> Figure:
    """One axes for each panel, see :func:`hier.reporting.history.panels`."""
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
