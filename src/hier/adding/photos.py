"""What there is to know of a folder of photos before it becomes a dataset."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from PIL import ExifTags, Image, UnidentifiedImageError

from hier.config.dataset import Counts, Dataset, File, Source, Unseen
from hier.data.in_place import Folder, list_photos, look_into, read_list
from hier.data.index import check_index, few
from hier.data.layouts.folder import says_split
from hier.data.layouts.split_file import KINDS, read_table
from hier.errors import ConfigError, LayoutError
from hier.files.hashing import hash_file, hashing
from hier.progress import progress
from hier.registry import LAYOUTS

SUPERCLASS = "superclass"


@dataclass(frozen=True)
class Asked:
    """What the user says of the photos; paths are from the project's root."""

    name: str
    folder: Path
    table: Path | None = None
    columns: dict[str, str] = field(default_factory=dict)
    levels: tuple[str, ...] = ()
    split: Path | None = None  # a file that says it
    unseen: Unseen | None = None  # how it is drawn, where the user says so


@dataclass(frozen=True)
class Found:
    """A dataset of the photos that is whole but for what one may choose, and what it was made of."""

    dataset: Dataset
    index: pd.DataFrame  # of the layout
    short_sides: list[int]  # of the photos, in pixels
    remarks: list[str]  # what the user should know, a line each


DRAWN = Unseen(share=0.5, seed=0)
ANY = Counts(images={"train": 1, "test": 1}, train_classes=1, test_classes=1)


def look_at(asked: Asked) -> Found:
    """Read what there is. Raises LayoutError: there are no photos, or they are not laid out as a layout says,
    or one cannot be read; ConfigError: what the user says does not go with them."""
    folder = look_into(asked.folder)
    if not folder.photos:
        raise LayoutError(f"{asked.folder} has no photos{_instead(folder)}")
    with hashing() as hasher:
        text = list_photos(asked.folder, asked.name, lambda path: hasher.file(path).sha256)
    with TemporaryDirectory() as temporary:
        beside = Path(temporary)
        files = list(_files(asked, text, beside))
        dataset = _draft(asked, folder, files)
        with _files_are_the_users(asked):
            index = LAYOUTS.module(dataset.layout).read(beside, dataset)
    dataset = dataset.model_copy(update={"counts": _counts(index)})
    check_index(index, dataset)
    remarks = [*folder.remarks(), *_of_table(asked), *_of_copies(text, index), *_of_classes(index)]
    return Found(dataset, index, _short_sides(asked.folder, index), remarks)


@contextmanager
def _files_are_the_users(asked: Asked) -> Iterator[None]:
    """Name the user's own files in a LayoutError, not the copies that the layout read."""
    try:
        yield
    except LayoutError as error:
        said = str(error)
        for what, given in (("table", asked.table), ("split", asked.split)):
            if given is not None:
                said = said.replace(f"{asked.name}-{what}{given.suffix.lower()}", str(given))
        raise LayoutError(said) from error


def _files(asked: Asked, text: str, beside: Path) -> Iterator[File]:
    """The files of the dataset's source, which are written into the folder `beside`."""
    path = beside / f"{asked.name}-photos.sha256"
    path.write_text(text, encoding="utf-8")
    yield File(name=path.name, folder=str(asked.folder), sha256=hash_file(path).sha256)
    for what, given in (("table", asked.table), ("split", asked.split)):
        if given is not None:
            if not given.is_file():
                raise ConfigError(f"--{what}: {given} is {'no file' if given.exists() else 'not there'}")
            if given.suffix.lower() not in KINDS:
                raise ConfigError(f"--{what}: {given} is none of {', '.join(KINDS)}; save it as one")
            path = beside / f"{asked.name}-{what}{given.suffix.lower()}"
            shutil.copyfile(given, path)
            yield File(name=path.name, url=given.absolute().as_uri(), sha256=hash_file(path).sha256)


def _draft(asked: Asked, folder: Folder, files: list[File]) -> Dataset:
    """The dataset with counts that are still to be found."""
    if asked.table is None:
        if asked.columns:
            raise ConfigError(f"--columns names {', '.join(asked.columns)} of a table; give it with --table")
        depth = max(path.count("/") for path in folder.photos)
        in_sides = says_split(folder.photos)
        says, above = in_sides, max(depth - 1 - in_sides, 0)
        levels = asked.levels or ("class", *_numbered(above))
        if len(levels) != above + 1:
            raise ConfigError(
                f"--levels names {len(levels)} levels ({', '.join(levels)}); there are {above + 1}"
            )
    else:
        there = set(read_table(asked.table, ())[0].values)
        says = asked.columns.get("split", "split") in there
        levels = asked.levels or ("class", *([SUPERCLASS] if SUPERCLASS in there else []))
    if len(set(levels)) < len(levels):
        raise ConfigError(f"--levels names one twice: {', '.join(levels)}")
    says = says or asked.split is not None
    if says and asked.unseen:
        raise ConfigError("the data say which classes are for training; leave out --unseen and --seed")
    return Dataset.model_validate(
        {
            "name": asked.name,
            "layout": "folder" if asked.table is None else "table",
            "sources": [Source(files=files)],
            "superclass": len(levels) > 1,
            "levels": list(levels),
            "columns": asked.columns | ({"above": list(levels[1:])} if asked.table else {}),
            "counts": ANY,
            "unseen": None if says else asked.unseen or DRAWN,
            "store_size": 128,
            "exif": "upright",
            "ks": [1, 2, 4, 8],
        }
    )


def _numbered(above: int) -> list[str]:
    """Names of the levels above the class's."""
    return ["super-class", *(f"super-class {level}" for level in range(2, above + 1))][:above]


def _counts(index: pd.DataFrame) -> Counts:
    images = {str(split): int(number) for split, number in index["split"].value_counts().items()}
    classes = index.groupby(index["split"] == "train")["label"].nunique()
    return Counts.model_validate(
        {
            "images": images,
            "train_classes": int(classes.get(True, 0)),
            "test_classes": int(classes.get(False, 0)),
        }
    )


def _short_sides(root: Path, index: pd.DataFrame) -> list[int]:
    """The short side of each photo, or of its crop, from its head; LayoutError where one cannot be read, or a
    crop leads out of it."""
    sides: list[int] = []
    broken: list[str] = []
    photos = index["image"].tolist()
    crops = index["crop"].tolist() if "crop" in index else [None] * len(photos)
    with progress("looking at the photos", len(photos)) as shown:
        for photo, crop in zip(photos, crops, strict=True):
            try:
                with Image.open(root / photo) as opened:
                    width, height = opened.size
                    if opened.getexif().get(ExifTags.Base.Orientation, 1) > 4:  # it lies on its side
                        width, height = height, width
                if crop and (crop[2] > width or crop[3] > height):
                    raise LayoutError(f"{photo}: its crop {crop} leads out of its {width} × {height} pixels")
                sides.append(min(crop[2] - crop[0], crop[3] - crop[1]) if crop else min(width, height))
            except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
                broken.append(photo)
            shown.update()
    if broken:
        raise LayoutError(
            f"{len(broken)} of {len(photos)} photos cannot be read ({few(broken)}): damaged, or of no "
            "kind that Pillow knows; mend them or take them out of the folder"
        )
    return sides


def _instead(folder: Folder) -> str:
    """What a folder without photos holds."""
    kinds = {"other files": folder.others, "links, which are not followed": folder.links}
    told = [f"{len(paths)} {kind} (such as {paths[0]})" for kind, paths in kinds.items() if paths]
    return f", but {' and '.join(told)}" if told else ""


def _of_table(asked: Asked) -> Iterator[str]:
    """Columns that do not count."""
    if asked.table is None:
        return
    columns = list(read_table(asked.table, ())[0].values)
    used = {"path", "label", "split", "crop", SUPERCLASS, *asked.levels, *asked.columns.values()}
    if unused := [column for column in columns if column not in used]:
        yield f"columns that do not count: {few(unused)}"


def _of_copies(text: str, index: pd.DataFrame) -> Iterator[str]:
    """Photos with the same bytes: in one class, in two, and on both sides of the split."""
    digests = index["image"].map(read_list(text))
    groups = index.assign(digest=digests, seen=index["split"] == "train").groupby("digest")
    for column, where in (("seen", "in training and among the unseen"), ("label", "in two classes")):
        split = groups[column].nunique()
        if len(found := split[split > 1]):
            first = index["image"][digests == found.index[0]].tolist()
            yield f"{len(found)} photos lie {where}, the same bytes (such as {' and '.join(first[:2])})"
            return
    if copies := int((groups.size() - 1).sum()):
        first = index["image"][digests.duplicated(keep=False)].tolist()
        yield f"{copies} photos are copies of others of their class (such as {' and '.join(first[:2])})"


def _of_classes(index: pd.DataFrame) -> Iterator[str]:
    """Test classes that cannot be measured: nothing of theirs can be found."""
    test = index[index["split"] != "train"]
    sizes = test.groupby(["class_name", "split"]).size().unstack(fill_value=0)
    lone = (
        sizes["test"] < 2
        if "test" in sizes
        else (sizes.get("gallery", 0) == 0) | (sizes.get("query", 0) == 0)
    )
    own = index[["label", "class_name"]].drop_duplicates()["class_name"]
    if shared := sorted({name.rpartition("/")[2] for name in own if "/" in name}):
        yield f"classes of one name below several super-classes count apart ({few(shared)})"
    if names := sizes.index[lone].tolist():
        yield f"{len(names)} unseen classes cannot be measured, having nothing to find ({few(names)})"
