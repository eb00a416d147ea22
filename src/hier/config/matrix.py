"""A suite as conf/suite/<name>.yaml gives it: a matrix of runs."""

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from hier.config.base import Strict
from hier.config.sweep import Sweep, check_values, shown
from hier.errors import ConfigError, UnknownNameError

REPLACED = ("dataset", "backbone", "recipe", "dim", "protocol")  # in every block, by an override
AXES = ("suite", "methods", "seeds", *REPLACED)
Names = str | list[str]
Label = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


def check_sweep(key: str, values: Any) -> None:
    """ValueError where a key cannot be swept over these values (see `check_values`), or is an axis."""
    axis = {"seed": "seeds", "method": "methods"}.get(key, key)
    if axis in AXES:
        given = "<one name>" if axis in ("recipe", "protocol") else shown(values)
        raise ValueError(f"{axis} is an axis of the matrix: give {axis}={given}")
    check_values(key, values)


def _checked(sweep: Sweep) -> Sweep:
    for key, values in sweep.items():
        try:
            check_sweep(key, values)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    return sweep


class Cell(NamedTuple):
    """A run."""

    groups: dict[str, str]  # their files, but for the method's
    method: str
    shown: str  # the method with the variant's label
    seed: int
    presets: list[str]  # its block's overrides
    sweep: Sweep = {}  # of which there is one for each value, where it has the keys


class Block(Strict):
    """A block of a suite's matrix: its lists cross, `{dataset}` and `{backbone}` name the recipe.

    `set` holds overrides for the runs that have these keys. `variants` gives runs that differ in
    settings alone: each label, which is added to the method's name, with overrides after those of `set`:

        methods: [hier]
        variants: {p32: [regularizer.proxies=32], p64: [regularizer.proxies=64]}

    are the methods `hier_p32` and `hier_p64`. `sweep` gives each run that has a key once for each value,
    which comes after those of `set`; several keys cross:

        sweep: {regularizer.weight: [0.1, 0.5]}

    makes of each of these `hier_p32_weight_0_1` and `hier_p32_weight_0_5`.
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
    sweep: Annotated[Sweep, AfterValidator(_checked)] = {}

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
                yield Cell(groups, method, f"{method}_{label}".rstrip("_"), seed, presets, self.sweep)


class Matrix(Strict):
    """A suite's name and blocks."""

    suite: str
    matrix: Annotated[list[Block], Field(min_length=1)]

    def with_axes(self, axes: dict[str, Any], sweep: Sweep | None = None) -> "Matrix":
        """The matrix with some of REPLACED and what is swept replaced in every block, checked again."""
        replaced = {key: axes[key] for key in REPLACED if key in axes}
        blocks = [
            {**block.model_dump(), **replaced, "sweep": block.sweep | (sweep or {})} for block in self.matrix
        ]
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

    def swept(self) -> list[str]:
        """The keys that blocks sweep, each once."""
        return list(dict.fromkeys(key for block in self.matrix for key in block.sweep))

    def presets(self) -> list[str]:
        """The overrides of all blocks and their variants."""
        blocks = self.matrix
        return [text for of in blocks for own in (of.set, *of.variants.values()) for text in own]


def as_list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) or value is None else [value]
