"""The disk as a figure for papers, of which the same scene gives the same bytes: SVG and PNG.

The SVG is a template: matplotlib's own takes three times the bytes, and a report has one for each
run. The PNG is matplotlib's, with a palette.
"""

import warnings
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from jinja2 import Template
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path
from PIL import Image

from hier.reporting.arcs import Complex
from hier.reporting.disk_scene import COLOURED, UNIT, Scene, units
from hier.reporting.page import environment

# Okabe and Ito's colours, each with a shape of its own; grey for the others.
MARKS = (
    ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "P"),
    ("#56b4e9", "v"), ("#777777", "."),
)  # fmt: skip
DPI = 150
LONGEST = 32
"""Letters of a name in the legend."""
SHADES = 6
"""Of each colour in the PNG's palette; twice as many greys."""

Nodes = list[tuple[complex, float, str]]  # places, radii and colours


def disk_svg(scene: Scene, run: str) -> str:
    """The whole disk, coloured by the level that the page starts with."""
    drawn = zip(scene.points, _shapes(scene), strict=True)
    images: dict[int, list[tuple[int, int]]] = {}
    for point, shape in drawn:
        images.setdefault(shape, []).append(units(point))
    return _template().render(
        run=_plain(run, 200),
        colours=[colour for colour, _ in MARKS],
        twigs=_path(scene.sample_edges[1]),
        branches=_path(scene.node_edges[scene.drawn]),
        dashed=not scene.proxies,
        images=dict(sorted(images.items())),
        circles=[(*units(at), round(r * UNIT), fill) for at, r, fill in _nodes(scene)],
        entries=_entries(scene),
    )  # fmt: skip


def disk_png(scene: Scene) -> bytes:
    """The same as a PNG of 750 pixels."""
    drawn, packed = BytesIO(), BytesIO()
    with warnings.catch_warnings():
        # A name may have letters that the font lacks; boxes stand for them.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        _figure(scene).savefig(drawn, format="png", dpi=DPI)
    full = Image.open(drawn).convert("RGB")
    picture = full.quantize(palette=_palette(), dither=Image.Dither.NONE)
    picture.save(packed, format="png", optimize=True, dpi=(DPI, DPI))
    return packed.getvalue()


@cache
def _template() -> Template:
    return environment().get_template("disk.svg.j2")


def _shapes(scene: Scene) -> list[int]:
    level = scene.coloured_by
    return [scene.mark(level, code) for code in scene.sample_codes(level)]


def _nodes(scene: Scene) -> Nodes:
    """The drawn nodes, large ones first: the purer, the fuller in colour."""
    level = scene.coloured_by
    codes, purity = scene.node_codes(level), scene.nodes["purity"][level]
    order = sorted(np.flatnonzero(scene.drawn).tolist(), key=lambda n: -scene.size[n])
    colours = [MARKS[scene.mark(level, code)][0] for code in codes]
    return [(scene.spots[n], scene.size[n], _paler(colours[n], purity[n])) for n in order]


def _path(curved: Complex) -> str:
    """Path data of curves (N×4): the start of each, then handles and end from there on."""
    found = []
    for curve in curved:
        x, y = units(curve[0])
        steps = " ".join(f"{px - x} {py - y}" for px, py in map(units, curve[1:]))
        found.append(f"M{x} {y}c{steps}")
    return "".join(found).replace(" -", "-")


def _entries(scene: Scene) -> list[tuple[int | None, str]]:
    """The legend: shapes with what they stand for, None for a node."""
    level = scene.levels[scene.coloured_by]
    found: list[tuple[int | None, str]] = [
        (shape, _plain(name)) for shape, name in enumerate(level.coloured())
    ]
    if level.others():
        found.append((COLOURED, f"others ({level.others()})"))
    return [*found, (None, scene.noun)]


def _plain(name: str, longest: int = LONGEST) -> str:
    """A name in one short line, of letters that XML may hold."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in name)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _paler(colour: str, share: float) -> str:
    """A colour on white, of which `share` is left."""
    return "#" + "".join(f"{round(255 + share * (part - 255)):02x}" for part in _rgb(colour))


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _palette() -> Image.Image:
    """Every colour in shades down to white, and greys: nothing turns into another colour."""
    colours = [*((colour, SHADES) for colour, _ in MARKS[:COLOURED]), ("#000000", 2 * SHADES)]
    shades = [_paler(colour, 1 - step / n) for colour, n in colours for step in range(n)]
    found = Image.new("P", (1, 1))
    found.putpalette([part for shade in (*shades, "#ffffff") for part in _rgb(shade)])
    return found


def _figure(scene: Scene) -> Figure:
    figure = Figure(figsize=(5.0, 5.6))
    axes = figure.add_axes((0.01, 0.11, 0.98, 0.88))
    axes.set(aspect="equal", xlim=(-1.04, 1.04), ylim=(-1.04, 1.04))
    axes.axis("off")
    axes.add_patch(Circle((0, 0), 1.0, facecolor="white", edgecolor="#bbbbbb"))
    thin = {"linewidth": 0.3, "edgecolor": "#cccccc", "antialiased": False}
    thick = {"linewidth": 0.7, "edgecolor": "#555555", "ls": "-" if scene.proxies else "--"}
    _edges(axes, scene.sample_edges[1], thin)
    _edges(axes, scene.node_edges[scene.drawn], thick)
    axes.plot(0, 0, "+", color="#555555", markersize=6)
    shapes = np.array(_shapes(scene), int)
    for shape, (colour, marker) in enumerate(MARKS):
        of = scene.points[shapes == shape]
        axes.plot(of.real, of.imag, marker, color=colour, markersize=3.2, markeredgewidth=0)
    for at, r, fill in _nodes(scene):
        axes.add_patch(
            Circle((at.real, at.imag), r, facecolor=fill, edgecolor="black", lw=0.5, zorder=3)
        )
    _legend(figure, scene)
    return figure


def _edges(axes: Axes, curved: Complex, style: dict[str, Any]) -> None:
    """All curves (N×4) as one path."""
    if not len(curved):
        return
    points = np.stack([curved.real, curved.imag], axis=-1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4], len(curved))
    axes.add_patch(PathPatch(Path(points, codes), facecolor="none", **style))


def _legend(figure: Figure, scene: Scene) -> None:
    keys, labels = [], []
    for shape, text in _entries(scene):
        colour, marker = ("#cccccc", "o") if shape is None else MARKS[shape]
        key = Line2D([], [], color=colour, marker=marker, linestyle="none")
        if shape is None:
            key.set(markeredgecolor="black", markeredgewidth=0.5)
        keys.append(key)
        # matplotlib leaves out what begins with an underscore.
        labels.append(f"\u200b{text}" if text.startswith("_") else text)
    legend = figure.legend(
        keys, labels, loc="lower center", ncols=2, fontsize="x-small", frameon=False
    )
    for written in legend.get_texts():
        written.set_parse_math(False)
