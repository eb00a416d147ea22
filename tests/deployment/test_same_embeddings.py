"""What a run embedded is what its model gives elsewhere: hier.load, timm and onnxruntime."""

import filecmp
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hier
from fakes.deployment import (
    blocks,
    make_run,
    photos_and_embeddings,
    run_without_project,
    weights_override,
)
from fakes.training import torch_as_before
from fakes.weights import make_weights
from hier.deployment.package import package
from hier.deployment.stored import read_model

PHOTOS = 200
ELSEWHERE = """
import numpy as np
{code}
paths = [line for line in open("photos.txt").read().splitlines()]
np.savez("found.npz", timm=np.concatenate([embed_by_timm(paths[:50]), embed_by_timm(paths[50:])]),
         onnx=np.concatenate([embed_by_onnx(paths[:1]), embed_by_onnx(paths[1:])]),
         distance=distance(embed_by_onnx(paths[:1]), embed_by_onnx(paths)))
"""
RUNS = {
    "test_resnet": ["methods=[hier]", "schedule.epochs=1"],
    "flat": ["methods=[pa]"],
    "scaled": ["methods=[hier]", "head.scale=0.1"],
    "learned scale": ["methods=[hier]", "head.scale=0.1", "head.learns_scale=true", "schedule.epochs=1"],
    "efficientnet_lite0": ["methods=[hier]", "backbone.weights=null"],
    "resnet50": ["methods=[hier]"],
    "vit_small": ["methods=[hier]"],
    "deit_small": ["methods=[hier]"],
    "no head": ["methods=[untrained]", "head=null", "backbone.pooling=avg+max"],
}
"""Overrides; a name that is none of a backbone takes test_resnet."""
GENUINE = ("resnet50", "vit_small", "deit_small")
LARGE = (*GENUINE, "efficientnet_lite0")
RARE = ("flat", "learned scale", "no head")
"""Heads of which `make test-large` alone sees to it; what they compute is tested in tests/models."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder in which runs are made; they share the images."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch, torch_as_before():
        patch.chdir(folder)
        Path("weights").mkdir()
        yield folder


def enlarge(path):
    """Make the weights of a file so large that fifty layers do not forget the image."""
    state = torch.load(path)
    torch.save(
        {name: value * 5 if value.ndim == 4 else value.abs() ** 0.1 for name, value in state.items()}, path
    )


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.large] * (name in (*LARGE, *RARE))) for name in RUNS],
)
def run(request, project):
    overrides, backbone = [*RUNS[request.param]], request.param
    if backbone in GENUINE:
        path, _ = make_weights(Path("weights"), backbone)
        if backbone == "resnet50":
            enlarge(path)
        overrides.append(weights_override(path))
    if backbone in LARGE:
        overrides += [f"backbone={backbone}", "embed.resize=72", "embed.crop=64"]
    return make_run(*overrides, measured=request.param == "test_resnet")


def test_a_model_gives_the_bytes_of_its_run_and_a_package_the_numbers(run, project, tmp_path):
    """The larger networks take up to a minute: each embeds the photos four times, and is exported twice."""
    photos, expected = photos_and_embeddings(run)
    photos, expected = photos[:PHOTOS], expected[:PHOTOS]
    assert len(expected) == PHOTOS
    assert np.unique(expected, axis=0).shape[0] == PHOTOS
    model = hier.load(Path("runs", run))
    assert model.unproved == []
    assert model.embed(photos).tobytes() == expected.tobytes()
    few = [*photos[7:12], Image.open(photos[12]), np.asarray(Image.open(photos[13]))]
    assert model.embed(few).tobytes() == expected[7:14].tobytes()

    folder = tmp_path / "package"
    package(read_model(Path("runs", run)), folder)
    (tmp_path / "photos.txt").write_text("\n".join(str(path.absolute()) for path in photos))
    code = "".join(block.replace("{FOLDER}", str(folder)) for block in blocks(folder / "README.md"))
    run_without_project(ELSEWHERE.format(code=code), tmp_path)
    found = np.load(tmp_path / "found.npz")
    for way in ("timm", "onnx"):
        assert found[way].shape == expected.shape
        assert np.abs(found[way] - expected).max() <= 1e-5, way
    distances = model.distance(expected[:1], expected)[0]
    np.testing.assert_allclose(found["distance"][1:], distances[1:], rtol=1e-3)

    again = tmp_path / "elsewhere" / "package"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        package(read_model(project / "runs" / run), again)
    names = sorted(path.name for path in folder.iterdir())
    assert filecmp.cmpfiles(folder, again, names, shallow=False) == (names, [], [])
    assert json.loads((folder / "config.json").read_text())["num_features"] == model.stored.backbone.features
