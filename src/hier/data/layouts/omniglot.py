"""Omniglot (Lake et al., Science 2015): `<side>/<alphabet>/<character>/<drawing>.png`.

The characters of the background alphabets are for training, those of the evaluation alphabets
are unseen. Works for the two zips of the authors and for any archive with the two folders in it.
"""

from pathlib import Path

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Row, to_table
from hier.errors import LayoutError

SIDES = {"images_background": "train", "images_evaluation": "test"}


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """Rows in the order of side, alphabet, character, drawing; labels count the characters.

    The class is `<alphabet>/<character>`, its super-class the alphabet. Raises LayoutError where one of
    the two folders is missing or empty.
    """
    rows: list[Row] = []
    known = 0
    for name, split in SIDES.items():
        characters = sorted(folder for folder in _find(root, name).glob("*/*") if folder.is_dir())
        if not characters:
            raise LayoutError(f"{name}: no folders <alphabet>/<character> in it, below {root}")
        for label, character in enumerate(characters, start=known):
            alphabet = character.parent.name
            for drawing in sorted(character.glob("[!.]*.png")):
                image = drawing.relative_to(root).as_posix()
                rows.append(Row(image, label, f"{alphabet}/{character.name}", alphabet, split))
        known += len(characters)
    return to_table(rows)


def _find(root: Path, name: str) -> Path:
    for path in sorted(root.rglob(name)):
        if path.is_dir() and "__MACOSX" not in path.relative_to(root).parts:
            return path
    raise LayoutError(f"{name}: no such folder below {root}; both sides' archives are needed")
