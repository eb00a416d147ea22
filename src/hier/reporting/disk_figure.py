"""The disk as a figure for papers: the same bytes each time, as SVG and as PNG."""

import re
import warnings
from io import BytesIO

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path
from PIL import Image

from hier.reporting import curves
from hier.reporting.arcs import Complex
from hier.reporting.disk import COLOURED, Scene

# Okabe and Ito's colours, each with a shape of its own; grey for the others.
MARKS = (
    ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "P"),
    ("#56b4e9", "v"), ("#777777", "."),
)  # fmt: skip
DPI = 200
LONGEST = 28
"""Letters of a name in the legend."""


def static_disk(scene: Scene) -> Figure:
    """The whole disk, coloured by the level that the page starts with."""
    figure = Figure(figsize=(5.0, 5.4))
    axes = figure.add_axes((0.01, 0.09, 0.98, 0.9))
    axes.set(aspect="equal", xlim=(-1.04, 1.04), ylim=(-1.04, 1.04))
    axes.axis("off")
    axes.add_patch(Circle((0, 0), 1.0, facecolor="#f7f7f5", edgecolor="#bbbbbb"))
    _edges(axes, scene.sample_edges[1], linewidth=0.3, edgecolor="#bbbbbb")
    dashes = "-" if scene.proxies else "--"
    upwards = scene.node_edges[scene.drawn]
    _edges(axes, upwards, linewidth=0.7, edgecolor="#555555", linestyle=dashes)
    axes.plot(0, 0, "+", color="#555555", markersize=6)
    entries = [*_images(axes, scene), _nodes(axes, scene)]
    legend = figure.legend(
        handles=entries,
        labels=[_plain(str(entry.get_label())) for entry in entries],
        loc="lower center",
        ncols=4,
        fontsize="x-small",
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def svg(figure: Figure) -> str:
    """The figure as SVG; lengths to a hundredth of a point."""
    with _whatever_the_font_lacks():
        text = curves.svg(figure)
    return re.sub(r"(?<=[\d-])\d*\.\d{3,}(?![\d)%])", _to_hundredths, text)


def png(figure: Figure) -> bytes:
    """The figure as PNG, with a palette: a third of the size."""
    drawn, packed = BytesIO(), BytesIO()
    with _whatever_the_font_lacks():
        figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    picture = Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    picture.save(packed, format="png", optimize=True, dpi=(DPI, DPI))
    return packed.getvalue()


def _to_hundredths(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


def _whatever_the_font_lacks() -> warnings.catch_warnings:
    """A name may have letters that the font has not; boxes stand for them."""
    quiet = warnings.catch_warnings(action="ignore", category=UserWarning)
    return quiet


def _plain(name: str) -> str:
    """A name in one short line; a leading underscore would leave it out."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in name)
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
    return f"\u200b{shown}" if shown.startswith("_") else shown


def _edges(axes: Axes, curved: Complex, **style: object) -> None:
    """All curves (N×4) as one path."""
    if not len(curved):
        return
    points = np.stack([curved.real, curved.imag], axis=-1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4], len(curved))
    axes.add_patch(PathPatch(Path(points, codes), facecolor="none", **style))


def _images(axes: Axes, scene: Scene) -> list[Artist]:
    level = scene.coloured_by
    shapes = np.array([scene.mark(level, code) for code in scene.sample_codes(level)])
    names = [*scene.levels[level].coloured()]
    found: list[Artist] = []
    for shape, (colour, marker) in enumerate(MARKS):
        of = scene.points[shapes == shape]
        if not len(of):
            continue
        others = f"others ({scene.levels[level].others()})"
        found += axes.plot(
            of.real,
            of.imag,
            marker,
            color=colour,
            markersize=3.2,
            markeredgewidth=0,
            label=others if shape == COLOURED else names[shape],
        )
    return found


def _nodes(axes: Axes, scene: Scene) -> Artist:
    level, spots = scene.coloured_by, scene.spots
    codes, purity = scene.node_codes(level), scene.nodes["purity"][level]
    for n in sorted(np.flatnonzero(scene.drawn).tolist(), key=lambda n: -scene.size[n]):
        colour = MARKS[scene.mark(level, codes[n])][0]
        at, size = (spots[n].real, spots[n].imag), scene.size[n]
        axes.add_patch(Circle(at, size, facecolor="white", edgecolor="none", zorder=3))
        fill = (*_rgb(colour), purity[n])
        axes.add_patch(Circle(at, size, facecolor=fill, edgecolor="black", lw=0.5, zorder=3))
    return Line2D(
        [], [], marker="o", linestyle="none", markersize=6, markerfacecolor="#cccccc",
        markeredgecolor="black", markeredgewidth=0.5, label=scene.noun,
    )  # fmt: skip


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
