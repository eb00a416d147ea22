"""YAML 1.2, as DVC reads and writes it: 1e-06 is a number, `off` and 1:30 are words, 010 is ten.

PyYAML's own loaders follow YAML 1.1. Here libyaml parses, and plain scalars are what the core schema of
YAML 1.2 makes of them. What is read is plain data: mappings of text, lists, and single values.
"""

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

Error = yaml.YAMLError

DEPTH = 100  # levels; libyaml's composer ends the process where there are too many
VALUES = 1_000_000  # that aliases may come to; a few lines of them can come to billions

_TAG = "tag:yaml.org,2002:"
_FLOAT = (  # the text .5e3 DVC writes bare, so it is no number here, either
    r"[-+]?([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+][0-9]+)?|\.(inf|Inf|INF))"
    r"|\.(nan|NaN|NAN)"
)
# What a plain scalar is, in the order in which it is tried, and what it may begin with.
_CORE = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    "float": (_FLOAT, [*"-+.0123456789"]),
}
# What some reader of YAML 1.2 takes for a number; as a text, PyYAML would write it bare.
_DOUBTFUL = (
    rf"{_FLOAT}|[-+]?([0-9_]+|0o?[0-7_]+|0b[01_]+|0x[0-9a-fA-F_]+)|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+([eE][-+]?[0-9]+)?"
)


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Scalars of the core schema; no key twice, and none that is no text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    yaml_constructors = {
        tag: SafeConstructor.yaml_constructors[tag]
        for tag in (*(_TAG + name for name in ("null", "str", "seq", "map")), None)
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        _check_keys(node)
        return super().construct_mapping(node, deep)


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Text and numbers that readers of YAML 1.1 and 1.2 take for the same; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def load(text: str) -> Any:
    """What a YAML text holds. Error where it is no YAML, has a key twice or one that is no text, is nested
    more than `DEPTH` deep, or has aliases that come to more than `VALUES` values. Python's search for
    reference cycles, half of the time, is off meanwhile."""
    searching = gc.isenabled()
    gc.disable()
    try:
        _see_that_it_is_not_deep(text)
        found = yaml.load(text, Loader=Loader)
        if "*" in text and not _count(found, {}) <= VALUES:
            raise Error(f"its aliases come to more than {VALUES} values")
    except UnicodeEncodeError as error:
        raise Error(f"it holds what is no character: {error.object[error.start]!a}") from error
    except RecursionError as error:
        raise Error("its aliases are nested too deep") from error
    finally:
        if searching:
            gc.enable()
    return found


def read(path: Path, load: Callable[[str], Any] = load) -> Any:
    """What a file holds. The Error of one that is no text or no YAML is to follow the file's name."""
    try:
        return load(path.read_text(encoding="utf-8-sig"))  # some editors begin with a mark
    except UnicodeDecodeError as error:
        raise Error("is not UTF-8 text") from error
    except Error as error:
        raise Error(f"is not YAML ({' '.join(str(error).split())})") from error


def dump(content: Any) -> str:
    """`content` (mappings, lists and single values) as a YAML text, keys in their order."""
    return str(yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100))


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag != f"{_TAG}str":
            raise _error("found a key that is no text", key)
        if key.value in seen:
            raise _error(f"found the key {key.value[:40]!r} a second time", key)
        seen.add(key.value)


def _error(problem: str, node: yaml.Node) -> ConstructorError:
    return ConstructorError(problem=problem, problem_mark=node.start_mark)


def _see_that_it_is_not_deep(text: str) -> None:
    opened = text.count("[") + text.count("{") - text.count("[]") - text.count("{}")
    if opened <= DEPTH and max(map(len, text.split("\n"))) <= DEPTH:
        return  # it cannot be; to be sure takes as long as to read it
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise Error(f"it is nested more than {DEPTH} deep")


def _count(value: Any, known: dict[int, float]) -> float:
    """How many values there are with every alias written out; infinite where one holds itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, known) for item in inner)
    return known[id(value)]


def _constructor(name: str, of: Callable[[str], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    def construct(loader: Any, node: yaml.ScalarNode) -> Any:
        text = loader.construct_scalar(node)
        try:
            return of(text)
        except (ValueError, KeyError) as error:
            raise _error(f"{text[:40]!r} is no {name}", node) from error

    return construct


for _name, (_pattern, _firsts) in _CORE.items():
    Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _firsts)
for _name, _of in {
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
}.items():
    Loader.add_constructor(_TAG + _name, _constructor(_name, _of))
Dumper.add_implicit_resolver(f"{_TAG}float", re.compile(f"^(?:{_DOUBTFUL})$"), [*"-+.0123456789"])
