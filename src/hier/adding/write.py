"""The files of conf/ that make photos a dataset with a suite of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hier import yaml12
from hier.adding.choices import Choices, choose
from hier.adding.photos import Asked, Found, look_at
from hier.config.dataset import Columns, Dataset
from hier.data.fetch import local_path
from hier.errors import ConfigError
from hier.files.atomic import write_texts

CONF = Path("conf")
MARK = "# Written by `hier dataset add`"
KEPT = ("exclude", "subset", "store_size", "exif", "ks")  # what one may have changed stays


def add(asked: Asked, again: bool) -> tuple[Found, Choices, list[Path]]:
    """Write conf/dataset/, conf/recipe/ and conf/suite/<name>.yaml, all or none; return them with what they
    follow from. By `again` the dataset alone is written anew, as it was asked for unless otherwise `asked`.
    Raises ConfigError: there is something of that name, or, by `again`, nothing; as `look_at`, `choose`."""
    paths = {group: CONF / group / f"{asked.name}.yaml" for group in ("dataset", "recipe", "suite")}
    there = [path for path in paths.values() if path.exists()]
    if again:
        before = _before(paths["dataset"])
        asked = _as_before(asked, before)
    elif there:
        raise ConfigError(
            f"{there[0]} is there already; choose another --name, or take the photos as they are now with "
            "--replace"
        )
    found = look_at(asked)
    chosen = choose(found)
    dataset = found.dataset.model_dump() | {"store_size": chosen.store_size}
    if again:
        dataset |= {name: value for name, value in before.model_dump().items() if name in KEPT}
    texts = {paths["dataset"]: _dataset_text(dataset, found)}
    if not again:
        texts |= {
            paths["recipe"]: _recipe_text(asked.name, chosen),
            paths["suite"]: _suite_text(asked.name, chosen),
        }
    write_texts(texts)
    return found, chosen, [*texts]


def _before(path: Path) -> Dataset:
    """The dataset that is replaced; ConfigError where it is none that was added."""
    if not path.is_file() or not path.read_text(encoding="utf-8").startswith(MARK):
        raise ConfigError(f"--replace: {path} was not written by `hier dataset add`; leave the option out")
    return Dataset.model_validate(yaml12.read(path))


def _as_before(asked: Asked, before: Dataset) -> Asked:
    """What is asked for now, or else was asked for before."""
    addresses = {file.name.rpartition("-")[2].partition(".")[0]: file.url for file in before.sources[0].files}
    files = {what: local_path(url) for what in ("table", "split") if (url := addresses.get(what))}
    table = asked.table or files.get("table")
    says = asked.split is not None or "split" in asked.columns
    return replace(
        asked,
        table=table,
        columns=_renamed(before) | asked.columns if table else {},
        levels=asked.levels or tuple(before.levels),
        split=asked.split or files.get("split"),
        unseen=asked.unseen or (None if says else before.unseen),
    )


def _renamed(before: Dataset) -> dict[str, str]:
    """The columns that were given names, as --columns gives them."""
    usual = Columns().model_dump()
    said = before.columns.model_dump(exclude={"above"})
    return {column: name for column, name in said.items() if name != usual[column]}


def _dataset_text(dataset: dict[str, Any], found: Found) -> str:
    """The settings that are not what they are without being said."""
    unsaid = {name: field.default for name, field in Dataset.model_fields.items()}
    unsaid["columns"] = Columns().model_dump()
    said = {name: value for name, value in dataset.items() if name not in unsaid or value != unsaid[name]}
    for source in said["sources"]:
        source["files"] = [{k: v for k, v in file.items() if v not in (None, [])} for file in source["files"]]
    images, classes = len(found.index), found.index["label"].nunique()
    head = (
        f"{MARK}, and yours to edit: {images:,} photos of {classes} classes, read where they lie.\n"
        f"# After a change of the photos: hier dataset add {said['sources'][0]['files'][0]['folder']} "
        f"--name {said['name']} --replace\n"
    )
    return head + yaml12.dump(said)


def _recipe_text(name: str, chosen: Choices) -> str:
    reasons = "".join(f"# {reason}.\n" for reason in chosen.reasons)
    return f"# @package _global_\n{MARK} {name}, to start from.\n{reasons}{yaml12.dump(chosen.recipe)}"


def _suite_text(name: str, chosen: Choices) -> str:
    block = {
        "dataset": name, "backbone": chosen.backbone, "recipe": name, "methods": chosen.methods, "dim": 128,
        "seeds": [0], "set": [f"regularizer.{key}={value}" for key, value in chosen.regularizer.items()],
    }  # fmt: skip
    text = yaml12.dump({"suite": name, "matrix": [block]})
    return f"# @package _global_\n{MARK} {name}: the frozen network, PA, and HIER on it.\n{text}"
