"""Small pictures of the images that the pages show, each written once and shared by all pages."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from hier.data.store import ImageStore

SIDE = 64
"""The longer side of a thumbnail, in pixels."""
QUALITY = 60


class Images:
    """A dataset's images as the pages show them: picture, path in the archive, names.

    Args:
        dataset: its name.
        index: as `read_index` returns it.
        store: the pixels.
        rows: of which there are thumbnails.
    """

    def __init__(
        self, dataset: str, index: pd.DataFrame, store: ImageStore, rows: Iterable[int]
    ) -> None:
        self.dataset, self.index, self.store = dataset, index, store
        self.rows = sorted(set(rows))

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
        there = set(self.rows)
        return {
            row: {
                "thumb": f"{root}thumbs/{self.dataset}/{row}.webp" if row in there else None,
                "image": self.index["image"].iloc[row],
                "names": names_of(self.index.iloc[row]),
            }
            for row in sorted(set(rows))
        }


def names_of(image: pd.Series) -> list[str]:
    """What an image is at each level, finest first; a level above the class is a path (`A/A1`)."""
    path = image["superclass"].split("/") if image["superclass"] else []
    above = ["/".join(path[:length]) for length in range(len(path), 0, -1)]
    return [image["class_name"], *above]


def rows_of(views: dict[str, Any]) -> Iterator[int]:
    """Every row that the views of a run speak of."""
    yield from views["samples"]["row"]
    for rows in views["tree"]["nodes"]["rows"]:
        yield from rows
    for kind in ("shared", "worst"):
        for query in views["galleries"][kind]:
            yield query["row"]
            yield from (neighbour["row"] for neighbour in query["neighbours"])
