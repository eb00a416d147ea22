"""A suite as conf/suite/<name>.yaml gives it: a matrix of runs."""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from hier.config.base import Strict
from hier.errors import ConfigError, UnknownNameError

REPLACED = ("dataset", "backbone", "recipe", "dim", "protocol")  # in every block, by an override
AXES = ("suite", "methods", "seeds", *REPLACED)
Names = str | list[str]
Label = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Cell(NamedTuple):
    """A run."""

    groups: dict[str, str]  # their files, but for the method's
    method: str
    shown: str  # the method with the variant's label
    seed: int
    presets: list[str]  # its block's overrides


class Block(Strict):
    """A block of a suite's matrix: its lists cross, `{dataset}` and `{backbone}` name the recipe.

    `set` holds overrides for the runs that have these keys. `variants` gives runs that differ in
    settings alone: each label, which is added to the method's name, with overrides after those of `set`:

        methods: [hier]
        variants: {p32: [regularizer.proxies=32], p64: [regularizer.proxies=64]}

    are the methods `hier_p32` and `hier_p64`.
    """

    dataset: Names
    backbone: Names
    recipe: str
    protocol: str = "corrected"
    methods: Annotated[list[str], Field(min_length=1)]
    dim: int | list[int] | None = None
    seeds: Annotated[list[int], Field(min_length=1)]
    set: list[str] = []
    variants: dict[Label, list[str]] = {}

    def cells(self, seeds: list[int]) -> Iterator[Cell]:
        """Every dataset, backbone, dimension, variant, method and seed."""
        axes: Any = (as_list(self.dataset), as_list(self.backbone), as_list(self.dim) or [None])
        variants = self.variants or {"": []}
        for *chosen, dim, label in product(*axes, variants):
            names = dict(zip(("dataset", "backbone"), chosen, strict=True))
            groups = names | {"recipe": self.recipe.format(**names), "protocol": self.protocol}
            own_dim = [f"head.dim={dim}"] if dim is not None else []
            presets = [*own_dim, *self.set, *variants[label]]
            for method, seed in product(self.methods, seeds):
                yield Cell(groups, method, f"{method}_{label}".rstrip("_"), seed, presets)


class Matrix(Strict):
    """A suite's name and blocks."""

    suite: str
    matrix: Annotated[list[Block], Field(min_length=1)]

    def with_axes(self, axes: dict[str, Any]) -> "Matrix":
        """The matrix with some of REPLACED replaced in every block, checked again."""
        replaced = {key: axes[key] for key in REPLACED if key in axes}
        blocks = [{**block.model_dump(), **replaced} for block in self.matrix]
        return Matrix.model_validate({"suite": self.suite, "matrix": blocks})

    def cells(self, axes: dict[str, Any]) -> list[Cell]:
        """Every run; `methods` of the axes filters them, `seeds` replaces theirs. ConfigError where no block
        has such a method, or no run is left."""
        for key in ("methods", "seeds"):
            if axes.get(key) == []:
                raise ConfigError(f"override '{key}=[]' leaves no runs")
        methods, seeds = as_list(axes.get("methods")), as_list(axes.get("seeds"))
        known = list(dict.fromkeys(name for block in self.matrix for name in block.methods))
        for method in methods or []:
            if method not in known:
                raise UnknownNameError(f"method of suite {self.suite}:", method, known)
        cells = (cell for block in self.matrix for cell in block.cells(seeds or block.seeds))
        return [cell for cell in cells if methods is None or cell.method in methods]

    def presets(self) -> list[str]:
        """The overrides of all blocks and their variants."""
        blocks = self.matrix
        return [text for of in blocks for own in (of.set, *of.variants.values()) for text in own]


def as_list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) or value is None else [value]
