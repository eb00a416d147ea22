"""Small pictures of the images that the pages show, each written once and shared by all pages."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from hier.data.store import ImageStore

MOST = 6000  # thumbnails in a report: at about 1 kB each, and 4 kB on most disks
SIDE = 64  # the longer side of a thumbnail, in pixels
QUALITY = 60


class Images:
    """A dataset's images as the pages show them: picture, path in the archive, names. There are thumbnails of
    `rows` alone."""

    def __init__(self, dataset: str, index: pd.DataFrame, store: ImageStore, rows: Iterable[int]) -> None:
        self.dataset, self.store, self.rows = dataset, store, sorted(set(rows))
        columns = (index[name].tolist() for name in ("image", "class_name", "superclass"))
        self.known = [(image, names_of(*names)) for image, *names in zip(*columns, strict=True)]

    def write(self, folder: Path) -> None:
        """Write thumbs/<dataset>/<row>.webp below `folder`: the same pixels give the same bytes."""
        target = folder / "thumbs" / self.dataset
        target.mkdir(parents=True)
        for row in self.rows:
            picture = Image.fromarray(self.store[row])
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            picture.save(target / f"{row}.webp", quality=QUALITY, method=6)

    def shown(self, rows: Iterable[int], root: str) -> dict[int, dict[str, Any]]:
        """By row: `thumb`, relative to a page from which `root` leads to the report's folder (None
        where there is no thumbnail); `image`, its path in the archive; `names`, finest level first.
        """
        found, there = {}, set(self.rows)
        for row in sorted(set(rows)):
            image, names = self.known[row]
            thumb = f"{root}thumbs/{self.dataset}/{row}.webp" if row in there else None
            found[row] = {"thumb": thumb, "image": image, "names": names}
        return found


def names_of(class_name: str, superclass: str | None) -> list[str]:
    """What an image is at each level, finest first; a level above the class is a path (`A/A1`)."""
    path = superclass.split("/") if superclass else []
    return [class_name, *("/".join(path[:length]) for length in range(len(path), 0, -1))]


def select_thumbnails(views: list[dict[str, Any]], datasets: int) -> list[int]:
    """The rows that views of all runs of a dataset speak of, or the most important where those are too
    many for a report that some datasets share."""
    return list(dict.fromkeys(by_importance(views)))[: MOST // datasets]


def by_importance(views: list[dict[str, Any]]) -> Iterator[int]:
    """Rows, some more than once: queries and what was found first, the images on the disk, what was
    found next, and then the images below the nodes of the trees, one of each in turn."""
    galleries = [each["galleries"] for each in views]
    shown = [query for kind in ("shared", "worst") for of in galleries for query in of[kind]]
    yield from (query["row"] for query in shown)
    found = [[neighbour["row"] for neighbour in query["neighbours"]] for query in shown]
    yield from (rows[0] for rows in found if rows)
    for each in views:
        yield from each["samples"]["row"]
    below = [rows for each in views for rows in each["tree"]["nodes"]["rows"]]
    for lists in (found, below):
        for turn in zip_longest(*lists):
            yield from (row for row in turn if row is not None)
