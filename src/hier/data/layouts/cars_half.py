"""A part of the training half of Cars-196, as github.com/fmejbah/car_dataset1 packs it.

Photos are in `cars_train/` and names in `cars_meta.mat`. Line n of `train_perfect_preds.txt` is the class id
of photo n of the whole half.

The first half of the class ids is for training, the second half is unseen, as in cars.py. The super-class is
the body type that a class's name ends with, before the year.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from hier.config.dataset import Dataset
from hier.data.layouts import Line, Row, base, below, missing, number, read_lines, to_table
from hier.data.layouts.matlab import read_names
from hier.errors import LayoutError

META, LABELS, PHOTOS = "cars_meta.mat", "train_perfect_preds.txt", "cars_train"
BODIES = {
    body: body for body in ("Convertible", "Coupe", "Hatchback", "Minivan", "SUV", "Sedan", "Van", "Wagon")
} | {"Cab": "Pickup", "SuperCab": "Pickup"}  # Crew, Extended, Regular, Club and Quad Cab
# Classes whose names do not end with their body type.
UNSAID = {
    "Acura Integra Type R 2001": "Coupe",
    "Acura TL Type-S 2008": "Sedan",
    "Buick Regal GS 2012": "Sedan",
    "Chevrolet Cobalt SS 2010": "Coupe",
    "Chevrolet Corvette Ron Fellows Edition Z06 2007": "Coupe",
    "Chevrolet Corvette ZR1 2012": "Coupe",
    "Chevrolet HHR SS 2010": "Wagon",
    "Chevrolet TrailBlazer SS 2009": "SUV",
    "Chrysler 300 SRT-8 2010": "Sedan",
    "Dodge Challenger SRT8 2011": "Coupe",
    "Dodge Charger SRT-8 2009": "Sedan",
    "FIAT 500 Abarth 2012": "Hatchback",
    "Infiniti G Coupe IPL 2012": "Coupe",
    "Jaguar XK XKR 2012": "Coupe",
    "Lamborghini Gallardo LP 570-4 Superleggera 2012": "Coupe",
}


def read(root: Path, dataset: Dataset) -> pd.DataFrame:
    """One row per photo that is there, in the order of their numbers; labels are class ids less 1.

    Raises LayoutError where a file is missing or bad, a photo's name is no number or has no line among the
    labels, a line is no class id, or a class's name says no body type.
    """
    top = base(root, "", META)
    names = read_names(top / META, "class_names")
    bodies = [_body(name, top / META) for name in names]
    labels = {line.number: line for line in read_lines(top / LABELS)}
    rows = []
    for at, photo in _photos(top / PHOTOS):
        if at not in labels:
            raise LayoutError(f"{top / LABELS} has no line {at}, the class of {PHOTOS}/{photo}")
        label, split = _class(labels[at], len(names))
        image = below(root, top / PHOTOS, photo)
        rows.append(Row(image, label, names[label], bodies[label], split, str(labels[at])))
    return to_table(rows)


def _photos(folder: Path) -> Iterator[tuple[int, str]]:
    """Number and name of each photo in a folder, by their numbers; hidden files are none."""
    if not folder.is_dir():
        raise missing(folder)
    found = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    for name in found:
        if re.fullmatch(r"[0-9]{5}\.jpg", name) is None:
            raise LayoutError(f"{folder}: expected photos <number of five digits>.jpg, found '{name[:100]}'")
    for name in sorted(found):
        yield int(name.removesuffix(".jpg")), name


def _class(line: Line, classes: int) -> tuple[int, str]:
    """The label (from 0) that a line's class id (from 1) is, and its side."""
    class_id = number(line.text) or 0
    if not 1 <= class_id <= classes:
        raise LayoutError(f"{line}: expected a class id from 1 to {classes}, found '{line.text[:200]}'")
    return class_id - 1, "train" if class_id <= classes // 2 else "test"


def _body(name: str, path: Path) -> str:
    """The body type of a class named `<make> <model> <body type> <year>`, or one of UNSAID."""
    said = re.fullmatch(r".* (\S+) [0-9]{4}", name)
    body = UNSAID.get(name) or BODIES.get(said[1] if said else "")
    if body is None:
        known = ", ".join(BODIES)
        raise LayoutError(
            f"{path}: class '{name}' says no body type; expected one of {known} before the year"
        )
    return body
