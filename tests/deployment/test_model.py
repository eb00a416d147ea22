"""What hier.load gives: neighbours as pages show them, distances, and what is proved."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file

import hier
from fakes.deployment import ROOT, blocks, photos_and_embeddings
from hier.deployment.load import Unproved
from hier.errors import ConfigError, DamagedInputError, MissingInputError, PictureError, TamperedError
from hier.kernels import PORTABLE
from hier.ledger.record import sealed

C = 0.1


@pytest.fixture
def model(run):
    return hier.load(run)


@pytest.fixture
def copy(run, tmp_path):
    """The run's folder, elsewhere, to be changed."""
    return Path(shutil.copytree(run, tmp_path / run.name))


def test_neighbours_are_those_of_the_page(model, run):
    shown = json.loads((run / "views.json").read_text())["galleries"]
    kept = load_file(run / "embeddings.safetensors")
    photos, _ = photos_and_embeddings(run.name)
    rows = kept["row"].tolist()
    vectors = model.embed(photos)
    numbers, distances = model.nearest(vectors, k=8)
    queries = [*shown["shared"], *shown["worst"]]
    assert len(queries) > 20
    for query in queries:
        own = rows.index(query["row"])
        assert [rows[n] for n in numbers[own]] == [each["row"] for each in query["neighbours"]]
        on_page = [each["distance"] for each in query["neighbours"]]
        np.testing.assert_allclose(distances[own], on_page, atol=1e-4)


def test_distances_are_those_of_the_ball(model):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, model.dim)).astype(np.float32) * 0.2 for n in (3, 5))
    found = model.distance(x, y)
    for i, j in np.ndindex(3, 5):
        gap, a, b = (float((v.astype(float) ** 2).sum()) for v in (x[i] - y[j], x[i], y[j]))
        expected = math.acosh(1 + 2 * C * gap / ((1 - C * a) * (1 - C * b))) / math.sqrt(C)
        assert found[i, j] == pytest.approx(expected, rel=1e-5)
    numbers, away = model.nearest(x, y, k=5)
    assert numbers.tolist() == np.argsort(found, axis=1).tolist()
    np.testing.assert_allclose(away, np.sort(found, axis=1), atol=1e-12)


def test_many_queries_are_searched_a_few_at_a_time(model, monkeypatch):
    from hier.deployment import neighbours

    x = np.random.default_rng(0).normal(size=(50, model.dim)).astype(np.float32) * 0.2
    whole = model.nearest(x, k=3)
    monkeypatch.setattr(neighbours, "CHUNK_ELEMENTS", 100)
    parts = model.nearest(x, k=3)
    assert np.array_equal(whole[0], parts[0])
    np.testing.assert_allclose(whole[1], parts[1], atol=1e-12)


def test_it_knows_what_lies_beside_it(model, run):
    assert model.levels == ["species", "genus", "family"]
    assert model.card["metrics"] == json.loads((run / "metrics.json").read_text())
    assert model.card["description"]["run"] == run.name
    assert model.card["proved"] == ["model.safetensors is the bytes that train.record.json says"]
    assert model.card["unproved"] == []


def test_without_a_record_nothing_is_proved(copy):
    for path in copy.glob("*.json"):
        path.unlink()
    with pytest.warns(Unproved, match="nothing proves") as said:
        model = hier.load(copy)
    assert len(said) == 1
    assert model.card["proved"] == []
    assert model.card["metrics"] is None
    assert model.levels is None


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("packages", {"timm": "0.1"}, "timm 1"),
        ("environment", {"kernels": "native"}, r"kernels portable \(there native\)"),
    ],
)
def test_another_library_or_other_kernels_are_told(copy, part, change, words):
    path = copy / "embed.record.json"
    record = json.loads(path.read_text())
    record[part] |= change
    path.write_text(sealed(record))
    with pytest.warns(Unproved, match=words):
        hier.load(copy)


def test_a_record_of_other_bytes_is_refused(copy):
    tensors = copy / "model.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(TamperedError, match="is not the bytes"):
        hier.load(copy)


def test_a_record_of_another_training_is_refused(copy):
    path = copy / "train.record.json"
    record = json.loads(path.read_text())
    record["params"]["runs.x.seed"] = 7
    path.write_text(sealed(record))
    with pytest.raises(TamperedError, match="another training"):
        hier.load(copy)
    path.write_text(path.read_text() + " ")
    with pytest.raises(TamperedError, match="seal"):
        hier.load(copy)


def test_what_is_no_model_is_named(run, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.safetensors is not there; name the folder of a run"):
        hier.load(tmp_path)
    with pytest.raises(MissingInputError, match="make it with: hier train demo-none"):
        hier.load("runs/demo-none")
    import torch

    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(DamagedInputError, match="which network"):
        hier.load(tmp_path)
    (tmp_path / "head.json").touch()  # `hier package` made it
    with pytest.raises(ConfigError, match=r"is a package, no run; .*README\.md has the code"):
        hier.load(tmp_path)


def test_images_that_cannot_be_taken_are_named(model, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"torn\.jpg"):
        model.embed(tmp_path)
    with pytest.raises(PictureError, match=r"gone\.png is no file"):
        model.embed("gone.png")
    with pytest.raises(PictureError, match="mode F"):
        model.embed(Image.new("F", (64, 64)))
    with pytest.raises(ConfigError, match="64×64 of float64"):
        model.embed([np.zeros((64, 64))])
    with pytest.raises(ConfigError, match="no image"):
        model.embed([])


def test_embeddings_that_cannot_be_compared_are_named(model):
    x = np.zeros((3, model.dim), np.float32)
    for wrong, words in (
        (x + 9, "outside the ball"),
        (x[:, :2], "N×64, and these are 3×2"),
        (x * np.nan, "NaN"),
    ):
        with pytest.raises(ConfigError, match=words):
            model.distance(x, wrong)
    for k in (0, 4):
        with pytest.raises(ConfigError, match="from 1 to 3"):
            model.nearest(x, x, k=k)
    with pytest.raises(ConfigError, match="from 1 to 2"):
        model.nearest(x, k=3)


def test_it_leaves_torch_as_it_was(model):
    import torch

    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(2)
    try:
        model.embed(np.zeros((64, 64, 3), np.uint8))
        assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == (2, before[1])
    finally:
        torch.set_num_threads(before[0])


def test_the_lines_of_the_readme_run(finished, tmp_path):
    """As a user types them, where nothing was loaded before; so the bytes are the run's."""
    project, name = finished
    code = next(block for block in blocks(ROOT / "README.md") if "hier.load" in block)
    photos, expected = photos_and_embeddings(name)
    own = "demo-hier-test_resnet-64-s0"
    assert own == name
    assert own in code
    (tmp_path / "photos").mkdir()
    for number, path in enumerate(photos[:20]):
        shutil.copy(path, tmp_path / f"photos/{number:02}{path.suffix}")
    (tmp_path / "runs").symlink_to(project / "runs")
    script = f"{code}\nvectors.tofile('vectors.bin')\nassert not model.unproved, model.unproved\n"
    (tmp_path / "script.py").write_text(script)
    environment = {name: value for name, value in os.environ.items() if name not in PORTABLE}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{own} (20, 64) ")
    assert (tmp_path / "vectors.bin").read_bytes() == expected[:20].tobytes()
