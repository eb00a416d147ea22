"""Two files that should be the same bytes: what is said of the first thing that differs."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from hier.audit.file_diff import difference


def save_array(array, path):
    np.save(path, array)


def save_csv(frame, path):
    frame.to_csv(path, index=False)


def save_json(value, path):
    path.write_text(json.dumps(value))


def save_bytes(content, path):
    path.write_bytes(content)


@pytest.fixture
def pair(tmp_path):
    """A function that writes a file twice and says how the two differ."""

    def compare(name, write, one, other):
        paths = [tmp_path / folder / name for folder in ("recorded", "rebuilt")]
        for path, content in zip(paths, (one, other), strict=True):
            path.parent.mkdir(exist_ok=True)
            write(content, path)
        return difference(*paths)

    return compare


def test_the_tensor_that_differs_most_is_named(pair):
    one = {"a": torch.zeros(3), "b": torch.zeros(2, 2), "c": torch.ones(1)}
    other = {"a": torch.tensor([0, 0.25, 0]), "b": torch.tensor([[0, 1.5], [-2, 0]]), "c": one["c"]}
    assert pair("model.safetensors", save_file, one, other) == (
        "tensor b differs by up to 2 in 2 of 4 numbers; 2 tensors differ, this one most"
    )


def test_not_a_number_is_equal_to_itself_and_endlessly_far_from_a_number(pair):
    nan = float("nan")
    one, other = {"a": torch.tensor([nan, nan, 1])}, {"a": torch.tensor([nan, 0, 1])}
    said = pair("model.safetensors", save_file, one, other)
    assert said.startswith("tensor a differs by up to ")
    assert said.endswith(" in 1 of 3 numbers")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"a": torch.zeros(2), "b": torch.zeros(1)}, "tensor b is rebuilt, but was not recorded"),
        ({"c": torch.zeros(2)}, "tensor a is recorded, but was not rebuilt"),
        ({"a": torch.zeros(3)}, "tensor a is float32 (2,) recorded, float32 (3,) rebuilt"),
    ],
)
def test_tensors_of_other_names_or_shapes(pair, other, said):
    assert pair("model.safetensors", save_file, {"a": torch.zeros(2)}, other) == said


def test_images(pair):
    one, other = np.arange(10, dtype=np.uint8), np.arange(10, dtype=np.uint8)
    other[3], other[7] = 255, 6
    assert pair("images.npy", save_array, one, other) == "it differs by up to 252 in 2 of 10 numbers"
    assert pair("images.npy", save_array, one, one[:4]) == "it is uint8 (10,) recorded, uint8 (4,) rebuilt"


def test_the_first_row_and_column_that_differ(pair):
    one = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25]})
    other = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.125]})
    assert pair("history.csv", save_csv, one, other) == "row 2, loss: 0.25 recorded, 0.125 rebuilt"
    assert pair("history.csv", save_csv, one, other[:1]) == "it has 2 rows recorded, 1 rebuilt"
    said = "its columns are epoch, loss recorded, epoch rebuilt"
    assert pair("history.csv", save_csv, one, other[["epoch"]]) == said
    said = pair("index.parquet", pd.DataFrame.to_parquet, one, other)
    assert said == "row 2, loss: 0.25 recorded, 0.125 rebuilt"


def test_the_first_value_that_differs(pair):
    one = {"recall": {"1": 0.5, "2": 0.75}, "map_at_r": 0.25}
    said = pair("metrics.json", save_json, one, one | {"recall": {"1": 0.5, "2": 0.5}})
    assert said == "recall.2: 0.75 recorded, 0.5 rebuilt"
    assert pair("metrics.json", save_json, one, one | {"x": 1}) == "x is rebuilt, but was not recorded"


def test_the_first_value_of_a_list_that_differs(pair):
    one = {"nodes": {"parent": [None, 0], "rows": [[1, 2], []]}}
    other = {"nodes": {"parent": [None, 0], "rows": [[1, 3], []]}}
    assert pair("views.json", save_json, one, other) == "nodes.rows.0.1: 2 recorded, 3 rebuilt"
    longer = {"nodes": {"parent": [None, 0, 0], "rows": [[1, 2], [3]]}}
    assert pair("views.json", save_json, one, longer) == ("nodes.rows.1 is recorded, but was not rebuilt")


@pytest.mark.parametrize(
    ("name", "one", "other", "first"),
    [
        ("metrics.json", b'{"a": 1}', b'{"a":  1}', 6),  # the same values
        ("model.safetensors", b"no tensors", b"no Tensors", 3),
        ("table.md", b"abc", b"abcd", 3),
    ],
)
def test_the_first_byte_where_nothing_else_can_be_said(pair, name, one, other, first):
    sizes = f"{len(one)} bytes recorded, {len(other)} rebuilt"
    assert pair(name, save_bytes, one, other) == f"byte {first} is another ({sizes})"
