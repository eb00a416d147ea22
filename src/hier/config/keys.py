"""Which keys the schema knows, those included that conf/ leaves at their defaults."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from hier.config.dataset import Dataset
from hier.config.run import Loss, Run
from hier.registry import LOSSES

Model = type[BaseModel]


def keys(run: dict[str, Any]) -> set[str]:
    """Every dotted key that the schema has for a composed run (with its dataset's settings). Of a group that
    is null, such as the head of a pretrained network, it has none."""
    own = {key for key in _keys(Run, run) if key.split(".")[0] not in ("dataset", "method")}
    return own | {f"dataset.{key}" for key in _keys(Dataset, run.get("dataset"))}


def siblings(model: Model, location: Iterable[Any]) -> list[str]:
    """The keys that may stand where an error's location ends."""
    kinds: list[Any] = [model]
    for part in [*location][:-1]:
        kinds = [member for kind in kinds for inner in _inside(kind, part) for member in _of(inner)]
    return [name for kind in kinds if _is_model(kind) for name in kind.model_fields]


def did_you_mean(name: str, known: Iterable[str], alike: float = 0.7) -> str:
    """`; did you mean …?`, or nothing where no known name is near."""
    near = [found for found in get_close_matches(name, [*known], 1, alike) if found != name]
    return f"; did you mean {near[0]}?" if near else ""


def _keys(kind: Any, value: Any) -> Iterator[str]:
    for model in _models(kind, value):
        for name, field in model.model_fields.items():
            yield name
            yield from (f"{name}.{key}" for key in _keys(field.annotation, value.get(name, {})))


def _models(kind: Any, value: Any) -> Iterator[Model]:
    """The models that a mapping can be of; its `name` says which, where each has its own."""
    if not isinstance(value, dict):
        return
    if kind is Loss and LOSSES.has(str(value.get("name"))):
        yield LOSSES.module(value["name"]).Settings
        return
    for member in _of(kind):
        if _is_model(member) and (not _tags(member) or value.get("name") in (*_tags(member), None)):
            yield member


def _inside(kind: Any, part: Any) -> list[Any]:
    """What stands below `part` of a model, mapping or list; the name of a union's member is itself."""
    if not _is_model(kind):
        return [*get_args(kind)[-1:]] if get_origin(kind) in (dict, list) else []
    if part in kind.model_fields:
        return [kind.model_fields[part].annotation]
    return [kind] if part in _tags(kind) else []


def _tags(model: Model) -> tuple[Any, ...]:
    name = model.model_fields.get("name")
    return get_args(name.annotation) if name and get_origin(name.annotation) is Literal else ()


def _of(kind: Any) -> list[Any]:
    """The members of a union, annotated or not; of the losses, those whose files are imported."""
    if get_origin(kind) is Annotated:
        return _of(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [member for part in get_args(kind) for member in _of(part)]
    return kind.__subclasses__() if kind is Loss else [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
