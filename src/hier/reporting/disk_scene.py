"""What the picture of a run's disk holds: images and nodes with their places, colours and edges; and its
tree of proxies or clusters as a list to open and close."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Complex = NDArray[np.complex128]
Views = dict[str, Any]  # a run's views.json
Shown = dict[int, dict[str, Any]]  # see Images.shown

UNIT = 1000  # units of the SVG in the disk's radius, of which whole numbers are precise enough
COLOURED = 6  # names that have a colour and a shape of their own; the rarer ones are "others"
NEARLY_STRAIGHT = 1e-6  # points so nearly in line with the centre are joined by a straight line
DEEPEST = 24  # levels of the list that are nested; what is deeper stands below the last of them in a row
ROOM = 0.92  # radius of a cluster of one image, were there one: inside the images' rim


class Level(NamedTuple):
    """The names at one level of the classes, the most frequent among the drawn images first."""

    title: str
    names: list[str]
    images: list[int]  # drawn ones of each

    def coloured(self) -> list[str]:
        """Names among the drawn images that have a colour of their own, in the colours' order."""
        return self.names[: min(COLOURED, len(self.names) - self.images.count(0))]

    def others(self) -> int:
        """How many names among the drawn images have none."""
        return max(0, len(self.names) - self.images.count(0) - COLOURED)

    def data(self) -> dict[str, Any]:
        """What scripts are told of it."""
        coloured, others = len(self.coloured()), self.others()
        return {"title": self.title, "names": self.names, "coloured": coloured, "others": others}


class Scene:
    """The disk of one run, by its views and the images of every row that they speak of."""

    def __init__(self, views: Views, images: Shown) -> None:
        self.views, self.images = views, images
        self.rows: list[int] = views["samples"]["row"]
        self.nodes: dict[str, list[Any]] = views["tree"]["nodes"]
        self.proxies = views["tree"]["kind"] == "proxies"
        self.noun = "proxy" if self.proxies else "cluster"
        tops = zip(self.nodes["count"], self.nodes["parent"], strict=True)
        self.total = sum(count for count, parent in tops if parent is None)
        # The images that are drawn or stand for a node.
        self.pictured = sorted({*self.rows, *(row for some in self.nodes["rows"] for row in some)})

    @cached_property
    def names(self) -> dict[int, list[str]]:
        """What each image is at each level of the views, finest first."""
        levels = range(len(self.views["levels"]))
        known = {row: self.images[row]["names"] for row in self.pictured}
        return {row: [of[min(at, len(of) - 1)] for at in levels] for row, of in known.items()}

    @cached_property
    def levels(self) -> list[Level]:
        found = []
        for at, title in enumerate(self.views["levels"]):
            count = dict.fromkeys((self.names[row][at] for row in self.pictured), 0)
            count |= dict.fromkeys(self.nodes["label"][at], 0)
            for row in self.rows:
                count[self.names[row][at]] += 1
            names = sorted(count, key=lambda name: (-count[name], name))
            found.append(Level(title, names, [count[name] for name in names]))
        return found

    @cached_property
    def codes(self) -> list[dict[str, int]]:
        """For each level the position of a name."""
        return [{name: code for code, name in enumerate(level.names)} for level in self.levels]

    @property
    def coloured_by(self) -> int:
        """The level that the picture is coloured by at first: the coarsest that tells any apart."""
        several = (at for at, level in enumerate(self.levels) if len(level.coloured()) > 1)
        return max(several, default=0)

    def mark(self, level: int, code: int) -> int:
        """Which shape and colour a name has."""
        return code if code < len(self.levels[level].coloured()) else COLOURED

    def sample_codes(self, level: int) -> list[int]:
        return [self.codes[level][self.names[row][level]] for row in self.rows]

    def node_codes(self, level: int) -> list[int]:
        return [self.codes[level][name] for name in self.nodes["label"][level]]

    @cached_property
    def points(self) -> Complex:
        """The images."""
        return np.array(self.views["samples"]["x"]) + 1j * np.array(self.views["samples"]["y"])

    @cached_property
    def spots(self) -> Complex:
        """The nodes; not a number where nothing below a node is drawn. One without a place of its own is
        drawn in the mean direction of its images, the nearer the centre the more of all it holds."""
        count = np.array(self.nodes["count"], float)
        share = np.log(np.maximum(count, 1.0)) / np.log(max(self.total, 2))
        toward = self._sums()
        with np.errstate(invalid="ignore"):
            guessed = ROOM * (1.0 - np.minimum(share, 1.0)) * toward / np.abs(toward)
        x, y = (np.array(self.nodes[name], float) for name in ("x", "y"))  # None: not a number
        return np.where(np.isnan(x), guessed, x + 1j * y)

    def _sums(self) -> Complex:
        """For each node the sum of the directions of the drawn images below; not a number if none."""
        sums = np.zeros(len(self.nodes["name"]), complex)
        seen = np.zeros(len(sums), bool)
        for point, parent in zip(self.points, self.views["samples"]["parent"], strict=True):
            while parent is not None:
                sums[parent] += point
                seen[parent] = True
                parent = self.nodes["parent"][parent]
        sums[seen & (np.abs(sums) < 1e-9)] = 1e-9
        return np.where(seen, sums, np.nan)

    @cached_property
    def drawn(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.spots)

    def holder(self, parent: int | None) -> int | None:
        """The lowest drawn node from `parent` upwards; None for the centre."""
        while parent is not None and not self.drawn[parent]:
            parent = self.nodes["parent"][parent]
        return parent

    @cached_property
    def sample_edges(self) -> tuple[list[int | None], Complex]:
        """For each image the node above, and the curve to there (N×4: start, handles, end)."""
        held = [self.holder(parent) for parent in self.views["samples"]["parent"]]
        return held, self._curves(self.points, held)

    @cached_property
    def node_edges(self) -> Complex:
        """For each node the curve to the one above (M×4)."""
        return self._curves(self.spots, [self.holder(p) for p in self.nodes["parent"]])

    def _curves(self, start: Complex, held: list[int | None]) -> Complex:
        end = np.array([0j if node is None else self.spots[node] for node in held], complex)
        start = np.nan_to_num(start)  # a node that is not drawn has no edge that is
        return np.stack([start, *handles(start, end), end], axis=1)

    @cached_property
    def size(self) -> NDArray[np.float64]:
        """Radius of each node's mark: its area grows with the share of images below."""
        return 0.012 + 0.024 * np.sqrt(np.array(self.nodes["count"]) / max(self.total, 1))

    def data(self) -> dict[str, Any]:
        """What scripts draw the disk and the subtrees from: names as positions in `levels`, places in
        thousandths with y downwards, None where a node is not drawn."""
        kinds: dict[tuple[int, ...], list[int]] = {}
        for row in self.pictured:
            codes = (code[name] for code, name in zip(self.codes, self.names[row], strict=True))
            kinds.setdefault(tuple(codes), []).append(row)
        thumbs = [thumb for row in self.pictured if (thumb := self.images[row]["thumb"])]
        places = [*map(units, self.points)]
        spots = zip(self.spots, self.drawn, strict=True)
        kept = ("name", "parent", "depth", "count", "purity", "rows")
        return {
            "proxies": self.proxies,
            "levels": [level.data() for level in self.levels],
            "kinds": [{"codes": codes, "rows": rows} for codes, rows in kinds.items()],
            "thumbs": thumbs[0].rsplit("/", 1)[0] + "/" if thumbs else "",
            "bare": [row for row in self.pictured if not self.images[row]["thumb"]],
            "samples": {"row": self.rows, "parent": self.sample_edges[0], "place": places},
            "nodes": {name: self.nodes[name] for name in kept}
            | {
                "label": [self.node_codes(at) for at in range(len(self.levels))],
                "place": [units(spot) if drawn else None for spot, drawn in spots],
                "size": [round(size * UNIT) for size in self.size],
            },
        }

    def purity(self, node: int) -> str:
        """The most frequent names below a node with their shares, the coarsest level first."""
        labels, purities = self.nodes["label"], self.nodes["purity"]
        pairs = zip(reversed(labels), reversed(purities), strict=True)
        return ", ".join(f"{label[node]} {100 * share[node]:.0f} %" for label, share in pairs)

    def beside(self, level: int) -> float | None:
        """Share of the images whose nearest neighbour in the picture has the same name there."""
        if len(self.points) < 2:
            return None
        places = np.stack([self.points.real, self.points.imag], axis=1)
        nearest = cKDTree(places).query(places, k=2)[1]
        codes = np.array(self.sample_codes(level))
        return float((codes[nearest[:, 0]] == codes[nearest[:, 1]]).mean())

    def on_rim(self) -> bool:
        """Whether all images lie at one distance from the origin."""
        radius = self.views["samples"]["radius"]
        return min(radius, default=0.0) >= 0.9995

    def describe(self) -> str:
        """What a reader sees in the picture."""
        shares = [(level.title, self.beside(at)) for at, level in enumerate(self.levels)]
        parts = [f"{100 * share:.0f} % by {title}" for title, share in shares if share is not None]
        said = [f"Images drawn beside one of the same kind: {', '.join(parts)}."] if parts else []
        if self.on_rim():
            rim = "so that only their directions on the rim tell them apart"
            said.append(f"All images are at one distance from the origin, {rim}.")
        return " ".join(said)


def units(point: complex) -> tuple[int, int]:
    """x and y in the SVG, where y points down."""
    return round(point.real * UNIT), round(-point.imag * UNIT)


def handles(start: Complex, end: Complex) -> tuple[Complex, Complex]:
    """Handles, at the start and at the end, of the cubic Bézier curves that follow the geodesics of the
    Poincaré disk between points of the closed unit disk, N from `start` to N of `end`.

    The circle through a and b that meets the unit circle at right angles has the centre m with
    2 Re(m̄ z) = |z|² + 1 for both. A cubic curve with handles of 4/3 tan(θ/4) radii leaves an arc of
    angle θ by less than 2 percent of its radius, for θ ≤ π/2 by less than 0.03 percent.
    """
    across = start.real * end.imag - start.imag * end.real
    straight = np.abs(across) < NEARLY_STRAIGHT
    twice = 2.0 * np.where(straight, 1.0, across)
    one, other = np.abs(start) ** 2 + 1.0, np.abs(end) ** 2 + 1.0
    centre = ((end.imag * one - start.imag * other) + 1j * (start.real * other - end.real * one)) / twice
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(straight, 0.0, np.angle((end - centre) / (start - centre)))
    length = 4.0 / 3.0 * np.tan(angle / 4.0)
    return (
        np.where(straight, (2.0 * start + end) / 3.0, start + 1j * length * (start - centre)),
        np.where(straight, (start + 2.0 * end) / 3.0, end - 1j * length * (end - centre)),
    )


class Entry(NamedTuple):
    """A node in the outline. After it, `closes` lists end."""

    node: int
    depth: int
    opens: bool  # whether a list of nodes below it begins
    closes: int
    colour: int
    purity: float  # at the level that the disk is coloured by


def outline(scene: Scene) -> list[Entry]:
    """All nodes, each before those below it, the larger ones first."""
    nodes, level = scene.nodes, scene.coloured_by
    order = _in_order(nodes["parent"], nodes["count"])
    nested = [min(depth, DEEPEST) for _, depth in order]
    codes, purity = scene.node_codes(level), nodes["purity"][level]
    found = []
    for (node, depth), here, after in zip(order, nested, [*nested[1:], 1], strict=True):
        colour, closes = scene.mark(level, codes[node]), max(0, here - after)
        found.append(Entry(node, depth, after > here, closes, colour, purity[node]))
    return found


def _in_order(parents: list[int | None], counts: list[int]) -> list[tuple[int, int]]:
    """The nodes with their depths (1 below the root), each before its children."""
    below: dict[int | None, list[int]] = {}
    for node in sorted(range(len(parents)), key=lambda n: (-counts[n], n)):
        below.setdefault(parents[node], []).append(node)
    found, left = [], [(node, 1) for node in reversed(below.get(None, []))]
    while left:
        node, depth = left.pop()
        found.append((node, depth))
        left += [(child, depth + 1) for child in reversed(below.get(node, []))]
    return found
