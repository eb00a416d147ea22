"""Recall of the backbone's features beside that of the embedding, through the real stages."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes.settings import write_settings
from fakes.training import torch_as_before
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.errors import DamagedInputError
from hier.evaluation.retrieval.embed import embed as embeddings_of
from hier.evaluation.retrieval.recall import recall_at_k
from hier.jobs import job
from hier.ledger.artifacts import read_images
from hier.models.network import build_network
from hier.pipeline import EMBEDDINGS, INDEX, METRICS, MODEL, STORE
from hier.results.measures import values
from hier.stages import download, embed, evaluate, prepare, train

CONF = Path(__file__).parents[2] / "conf"
RUN = "smoke-untrained-test_resnet-16-s0"
CHOSEN = ["suite=smoke", "methods=[untrained]", "runtime.device=cpu", "embed.features=true"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The run up to its embeddings; a function that runs a stage, and the folder."""
    folder = tmp_path_factory.mktemp("features")
    suite = compose(CHOSEN, CONF)
    params = Settings.of(suite)

    def stage(module, key=RUN):
        module.run(job(module.__name__.rpartition(".")[2], key, params), suite, "same")

    with pytest.MonkeyPatch.context() as patch, torch_as_before():
        patch.chdir(folder)
        write_settings(params)
        Path("runs", RUN).mkdir(parents=True)
        for module, key in ((download, "smoke"), (prepare, "smoke"), (train, RUN), (embed, RUN)):
            stage(module, key)
        yield stage, suite.runs[RUN]


def test_they_are_what_the_head_gets(project):
    _, run = project
    kept = load_file(EMBEDDINGS.format(run=RUN))
    network = build_network(run.backbone, run.head)
    network.load_state_dict(load_file(MODEL.format(run=RUN)))
    assert kept["features"].shape == (32, run.backbone.features)
    with torch.no_grad():
        torch.testing.assert_close(network.eval().head(kept["features"]), kept["embedding"])


def test_their_recall_by_cosine_stands_beside_the_embeddings(project):
    stage, run = project
    assert run.evaluate.metric == "cosine"
    stage(evaluate)
    metrics = json.loads(Path(METRICS.format(run=RUN)).read_text())
    kept = load_file(EMBEDDINGS.format(run=RUN))
    index = pd.read_parquet(INDEX.format(dataset="smoke")).iloc[kept["row"].numpy()]
    labels = index["label"].to_numpy()
    for key, points in (("recall", kept["embedding"]), ("feature_recall", kept["features"])):
        found = recall_at_k(points, labels, points, labels, [1, 2], "cosine", exclude_self=True)
        assert metrics[key] == {str(k): share for k, share in found.items()}
    assert metrics["feature_recall"] != metrics["recall"]
    shown = values(metrics)
    assert shown["features R@1"] == 100 * metrics["feature_recall"]["1"]


def test_a_file_without_them_is_refused(project):
    stage, _ = project
    path = Path(EMBEDDINGS.format(run=RUN))
    kept = load_file(path)
    whole = path.read_bytes()
    for wrong in ({}, {"features": kept["features"][:, :5].contiguous()}):
        save_file({k: v for k, v in kept.items() if k != "features"} | wrong, path)
        with pytest.raises(DamagedInputError, match="features should be float32"):
            stage(evaluate)
    path.write_bytes(whole)


def test_without_the_setting_there_are_none(project):
    _, run = project
    index, store = read_images(*(Path(p.format(dataset="smoke")) for p in (INDEX, STORE)))
    network = build_network(run.backbone, run.head)
    device = torch.device("cpu")
    rows = index.index.to_numpy()[:4]
    assert embeddings_of(network, store, rows, run, device).shape == (4, run.dim)
    found = embeddings_of(network, store, rows, run, device, features=True)
    assert found.shape == (4, run.backbone.features)
    plain = compose(["suite=smoke"], CONF)
    assert not any(run.embed.features for run in plain.runs.values())
