"""The disk as an SVG for papers: the same scene gives the same bytes."""

import numpy as np

from hier.reporting.disk_scene import COLOURED, UNIT, Complex, Scene, units
from hier.reporting.page import environment

# Okabe and Ito's colours; grey for the others. The template gives each a shape of its own. The page's
# disk has those of assets/colours.css, which follow light and dark.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777")
LONGEST = 32  # letters of a name in the legend


def disk_svg(scene: Scene, run: str) -> str:
    """The whole disk, coloured by the level that the page starts with."""
    level = scene.levels[scene.coloured_by]
    shapes = [scene.mark(scene.coloured_by, code) for code in scene.sample_codes(scene.coloured_by)]
    images: dict[int, list[tuple[int, int]]] = {shape: [] for shape in sorted(set(shapes))}
    for point, shape in zip(scene.points, shapes, strict=True):
        images[shape].append(units(point))
    entries: list[tuple[int | None, str]] = [*enumerate(map(_printable, level.coloured()))]
    if level.others():
        entries.append((COLOURED, f"others ({level.others()})"))
    return (
        environment()
        .get_template("disk.svg.j2")
        .render(
            run=_printable(run, 200),
            colours=COLOURS,
            twigs=_path(scene.sample_edges[1]),
            branches=_path(scene.node_edges[scene.drawn]),
            dashed=not scene.proxies,
            images=images,
            circles=_circles(scene),
            entries=[*entries, (None, scene.noun)],
        )
    )


def _circles(scene: Scene) -> list[tuple[int, int, int, str]]:
    """x, y, radius and colour of the drawn nodes, large ones first: the purer, the fuller in colour."""
    level = scene.coloured_by
    codes, purity = scene.node_codes(level), scene.nodes["purity"][level]
    found = []
    for node in sorted(np.flatnonzero(scene.drawn), key=lambda node: -scene.size[node]):
        colour = _paler(COLOURS[scene.mark(level, codes[node])], purity[node])
        found.append((*units(scene.spots[node]), round(scene.size[node] * UNIT), colour))
    return found


def _path(curves: Complex) -> str:
    """Path data of curves (N×4): the start of each, then handles and end relative to it."""
    found = []
    for curve in curves:
        x, y = units(curve[0])
        steps = " ".join(f"{px - x} {py - y}" for px, py in map(units, curve[1:]))
        found.append(f"M{x} {y}c{steps}")
    return "".join(found).replace(" -", "-")


def _printable(name: str, longest: int = LONGEST) -> str:
    """A name in one short line, of letters that XML may hold."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in name)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _paler(colour: str, share: float) -> str:
    """A colour on white, of which `share` is left."""
    return "#" + "".join(f"{round(255 + share * (c - 255)):02x}" for c in bytes.fromhex(colour[1:]))
