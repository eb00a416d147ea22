"""What an earlier stage wrote and is damaged since: one line with the file and the mend."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from hier.data.index import read_index, write_index
from hier.errors import DamagedInputError, MissingInputError
from hier.ledger.artifacts import read_images, read_tensors
from hier.results.expected import read_metrics

INDEX, STORE = Path("data/tiny/index.parquet"), Path("data/tiny/images.npy")
MODEL, METRICS = Path("runs/tiny-pa-x-8-s0/model.safetensors"), Path("runs/r/metrics.json")


@pytest.fixture(autouse=True)
def written(tmp_path, monkeypatch):
    """Two images of 2 × 3 px, a model and a metrics file, all whole."""
    monkeypatch.chdir(tmp_path)
    for path in (INDEX, MODEL, METRICS):
        path.parent.mkdir(parents=True)
    index = pd.DataFrame(
        {
            "image": pd.Series(["a.png", "b.png"], dtype=object),
            "label": [0, 1],
            "class_name": pd.Series(["a", "b"], dtype=object),
            "superclass": pd.Series([None, None], dtype=object),
            "split": pd.Series(["train", "test"], dtype=object),
            "height": np.array([2, 2], dtype=np.int32),
            "width": np.array([3, 3], dtype=np.int32),
            "offset": [0, 18],
        }
    )
    write_index(index, INDEX)
    np.save(STORE, np.arange(36, dtype=np.uint8))
    save_file({"weight": torch.arange(64.0)}, MODEL)
    METRICS.write_text(json.dumps({"recall": {"1": 0.5}, "map_at_r": 0.25}))


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def said(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_whole_files_are_read():
    index, store = read_images(INDEX, STORE)
    pd.testing.assert_frame_equal(index, read_index(INDEX))
    assert store[1].ravel().tolist() == list(range(18, 36))
    assert torch.equal(read_tensors(MODEL)["weight"], torch.arange(64.0))
    assert read_metrics(METRICS) == {"recall": {"1": 0.5}, "map_at_r": 0.25}


@pytest.mark.parametrize("path", [INDEX, STORE], ids=str)
def test_a_damaged_index_or_store(path):
    cut(path)
    with pytest.raises(DamagedInputError) as caught:
        read_images(INDEX, STORE)
    assert said(caught).startswith(f"{path} is damaged (")
    assert said(caught).endswith("make it anew with: hier prepare tiny")


def test_a_damaged_model():
    cut(MODEL)
    with pytest.raises(DamagedInputError) as caught:
        read_tensors(MODEL)
    assert said(caught).startswith(f"{MODEL} is damaged (")
    assert said(caught).endswith("make it anew with: hier train tiny-pa-x-8-s0")


@pytest.mark.parametrize("text", ['{"recall": {"1": 0.', "{}", "", '{"recall": {"1": 0.5}}'])
def test_damaged_metrics(text):
    METRICS.write_text(text)
    with pytest.raises(DamagedInputError) as caught:
        read_metrics(METRICS)
    assert said(caught).startswith(f"{METRICS} is damaged (")
    assert said(caught).endswith("make it anew with: hier evaluate r")


def test_a_missing_store_is_missing_not_damaged():
    STORE.unlink()
    with pytest.raises(MissingInputError, match=r"images\.npy is missing"):
        read_images(INDEX, STORE)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda index: index.drop(columns="offset"), "it has no column offset"),
        (lambda index: index.assign(label=None), "its column label lacks values"),
        (lambda index: index.assign(label="x"), ""),
    ],
)
def test_an_index_of_other_columns(change, why):
    change(pd.read_parquet(INDEX)).to_parquet(INDEX)
    with pytest.raises(DamagedInputError) as caught:
        read_images(INDEX, STORE)
    assert said(caught).startswith(f"{INDEX} is damaged ({why}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda store: store.astype("f4"), "it holds float32 (36), where bytes in a row belong"),
        (lambda store: store.astype("i1"), "it holds int8 (36), where bytes in a row belong"),
        (lambda store: store.reshape(2, -1), "it holds uint8 (2×18), where bytes in a row belong"),
    ],
)
def test_a_store_of_another_kind(change, why):
    np.save(STORE, change(np.load(STORE)))
    with pytest.raises(DamagedInputError) as caught:
        read_images(INDEX, STORE)
    assert said(caught).startswith(f"{STORE} is damaged ({why})")


@pytest.mark.parametrize("path", [INDEX, STORE, METRICS], ids=str)
@pytest.mark.parametrize("content", [b"", b"hello\n", b"<!DOCTYPE html>", None])
def test_something_else_in_its_place(path, content):
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DamagedInputError) as caught:
        read_metrics(path) if path == METRICS else read_images(INDEX, STORE)
    assert said(caught).startswith(f"{path} is damaged (")
