"""The tree of a run's proxies or clusters as a list to open and close."""

from typing import NamedTuple

from hier.reporting.disk_scene import Scene

DEEPEST = 24  # levels that are nested; what is deeper stands below the last of them in a row


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
