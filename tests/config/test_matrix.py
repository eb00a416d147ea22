"""A suite's matrix: what its blocks cross, and which runs its variants give."""

import pytest
from pydantic import ValidationError

from hier.config.matrix import Matrix
from hier.errors import ConfigError, UnknownNameError

BLOCK = {
    "dataset": ["cub", "cars"],
    "backbone": "vit_small",
    "recipe": "{backbone}-{dataset}",
    "methods": ["pa", "hier"],
    "dim": 128,
    "seeds": [0, 1],
}


def matrix(**changed):
    return Matrix.model_validate({"suite": "a", "matrix": [BLOCK | changed]})


def test_the_lists_of_a_block_cross_and_the_recipe_takes_their_names():
    found = [(cell.groups, cell.method, cell.shown, cell.seed) for cell in matrix().cells({})]
    assert found == [
        (
            {
                "dataset": dataset,
                "backbone": "vit_small",
                "recipe": f"vit_small-{dataset}",
                "protocol": "corrected",
            },
            method,
            method,
            seed,
        )
        for dataset in ("cub", "cars")
        for method in ("pa", "hier")
        for seed in (0, 1)
    ]


def test_a_variant_adds_its_label_and_its_settings_after_those_of_the_block():
    variants = {"both": [], "w1": ["regularizer.weight=1.0"]}
    given = matrix(dataset="cub", methods=["hier"], seeds=[0], set=["seed=3"], variants=variants)
    assert [(cell.method, cell.shown, cell.presets) for cell in given.cells({})] == [
        ("hier", "hier_both", ["head.dim=128", "seed=3"]),
        ("hier", "hier_w1", ["head.dim=128", "seed=3", "regularizer.weight=1.0"]),
    ]
    assert given.presets() == ["seed=3", "regularizer.weight=1.0"]


def test_axes_replace_filter_and_are_checked():
    given = matrix(variants={"a": []}).with_axes({"dataset": "demo", "recipe": "demo", "dim": 8})
    (cell,) = given.cells({"methods": "hier", "seeds": [7]})
    assert (cell.groups["dataset"], cell.groups["recipe"]) == ("demo", "demo")
    assert (cell.shown, cell.seed, cell.presets) == ("hier_a", 7, ["head.dim=8"])
    with pytest.raises(ValidationError):
        matrix().with_axes({"dataset": 3})
    with pytest.raises(UnknownNameError, match="choose from: pa, hier"):
        matrix().cells({"methods": ["ms"]})
    with pytest.raises(ConfigError, match="leaves no runs"):
        matrix().cells({"seeds": []})


def test_a_label_is_part_of_a_runs_name():
    with pytest.raises(ValidationError, match="pattern"):
        matrix(variants={"a-b": []})
