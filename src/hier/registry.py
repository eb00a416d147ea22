"""Parts that are found by their file's name: a new one is a new file, and no list names it.

A loss `x` is src/hier/losses/x.py. Such a folder may hold other files, which its parts share.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from hier.errors import UnknownNameError


@dataclass(frozen=True)
class Registry:
    """The parts of one kind."""

    kind: str  # what messages call one
    package: str  # where their modules are
    defines: str  # what a module of a part defines at its top level, and a shared one does not

    def names(self) -> list[str]:
        """Names of all parts, sorted; none of their modules is imported."""
        files = {file.stem for folder in self._folders() for file in folder.glob("*.py")}
        return sorted(filter(self.has, files))

    def has(self, name: str) -> bool:
        """Whether there is a part of that name."""
        file = self._file(stem(name))
        return file is not None and self.defines in _defined(file.read_text(encoding="utf-8"))

    def check(self, name: str) -> str:
        """`name`, which is one of a part; UnknownNameError where it is none."""
        if not self.has(name):
            raise UnknownNameError(self.kind, name, self.names())
        return name

    def module(self, name: str) -> ModuleType:
        """The module of a part, imported only now; UnknownNameError where there is none."""
        return import_module(f"{self.package}.{stem(self.check(name))}")

    def files(self, name: str) -> list[Path]:
        """The file of a part and those of its folder that it needs: what it imports from there, at the
        top or in a function, and what that imports. UnknownNameError where there is no such part."""
        found: set[Path] = set()
        todo = [stem(self.check(name))]
        while todo:
            file = self._file(todo.pop())
            if file and file not in found:
                found.add(file)
                todo += _imported(file.read_text(encoding="utf-8"), self.package)
        return sorted(found)

    def _folders(self) -> list[Path]:
        spec = find_spec(self.package)
        return [Path(at) for at in (spec and spec.submodule_search_locations) or ()]

    def _file(self, stem: str) -> Path | None:
        files = (folder / f"{stem}.py" for folder in self._folders() if stem.isidentifier())
        return next((file for file in files if file.is_file()), None)


LOSSES = Registry("loss", "hier.losses", "Settings")
POOLINGS = Registry("pooling", "hier.models.pooling", "pool")
LAYOUTS = Registry("layout", "hier.data.layouts", "read")


def stem(name: str) -> str:
    """The file of pooling `avg+max` is avg_max.py."""
    return name.replace("+", "_")


@lru_cache(maxsize=256)
def _defined(text: str) -> frozenset[str]:
    """Classes and functions at the top level of a module."""
    kinds = ast.ClassDef | ast.FunctionDef
    return frozenset(node.name for node in ast.parse(text).body if isinstance(node, kinds))


def _imported(text: str, package: str) -> Iterator[str]:
    """Modules of a package that a module imports anywhere; `__init__` is the package itself."""
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name == package or name.startswith(f"{package}."):
                yield name.removeprefix(package).lstrip(".").partition(".")[0] or "__init__"
