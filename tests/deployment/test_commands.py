"""embed-images, search, package and verify DIR: what they write and say, and how they refuse."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard
from safetensors.numpy import load_file

from fakes.deployment import photos_and_embeddings
from hier.cli import cli
from hier.deployment import onnx_graph
from hier.errors import HierError, TamperedError
from hier.geometry.poincare import max_norm


def hier(*arguments):
    """What a command says; its error is raised."""
    done = CliRunner().invoke(cli, [str(each) for each in arguments])
    if done.exception:
        raise done.exception
    return done


@pytest.fixture
def photos(run, tmp_path):
    """A nested folder with ten photos and some other files; the embeddings by path."""
    paths, embeddings = photos_and_embeddings(run.name)
    folder = tmp_path / "photos"
    found = {}
    for number, (path, embedding) in enumerate(zip(paths[:10], embeddings, strict=False)):
        name = f"{'ab'[number % 2]}/{number}{path.suffix}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
        found[name] = embedding
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    return folder, found


@pytest.fixture(scope="module")
def packaged(finished, tmp_path_factory):
    """The run's package, written once."""
    folder = tmp_path_factory.mktemp("packaged") / "package"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished[0])
        hier("package", Path("runs", finished[1]), "--out", folder)
    return folder


def test_embed_images_writes_paths_and_vectors(run, photos, tmp_path):
    folder, expected = photos
    done = hier("embed-images", run, folder, "--out", tmp_path / "one.parquet")
    assert "note: 1 hidden are left out (such as .hidden.jpg)" in done.output
    table = pq.read_table(tmp_path / "one.parquet")
    assert table.column_names == ["path", "embedding"]
    assert str(table.schema.field("embedding").type) == "list<element: float>"
    assert table["path"].to_pylist() == sorted(expected)
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    assert vectors.tobytes() == np.stack([expected[name] for name in sorted(expected)]).tobytes()
    hier("embed-images", run.name, folder, "--out", tmp_path / "two.parquet", "--workers", 1)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_search_finds_the_nearest_but_the_query_itself(run, photos, tmp_path):
    folder, expected = photos
    names = sorted(expected)
    query, page = folder / names[3], tmp_path / "found.html"
    done = hier("search", run, query, folder, "-k", 4, "--html", page)
    lines = re.findall(r"^ +(\d+)  ([\d.]+)  (.+)$", done.stdout, re.MULTILINE)
    x = np.stack([expected[name] for name in names]).astype(float)
    gap, inside = ((x - x[3]) ** 2).sum(1), 1 - 0.1 * (x**2).sum(1)
    away = np.arccosh(1 + 0.2 * gap / (inside * inside[3])) / 0.1**0.5
    order = [n for n in np.argsort(away) if n != 3][:4]
    assert [path for _, _, path in lines] == [str(folder / names[n]) for n in order]
    assert [float(d) for _, d, _ in lines] == pytest.approx(away[order], abs=1e-4)
    assert [rank for rank, _, _ in lines] == list("1234")
    text = page.read_text()
    assert text.count("data:image/webp;base64,") == 5
    assert "http" not in text
    assert hier("search", run, folder / "a", folder, "-k", 99).stdout.count("  1  ") == 5


def test_it_all_works_outside_of_a_project(run, photos, tmp_path, monkeypatch):
    _, expected = photos
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(run / "model.safetensors", elsewhere)
    monkeypatch.chdir(tmp_path)
    done = hier("embed-images", "elsewhere", "photos", "--out", "out.parquet")
    assert "not proved: elsewhere/train.record.json is missing" in done.output
    assert pq.read_table("out.parquet").num_rows == len(expected)
    assert "  1  " in hier("search", "elsewhere", "photos/a/0.jpg", "photos").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed-images", "nope", "PHOTOS", "--out", "x"], "unknown run 'nope'"),
        (["embed-images", "RUN", "nope", "--out", "x.parquet"], "nope is no folder"),
        (["embed-images", "RUN", "conf/suite", "--out", "x.parquet"], "holds no photo"),
        (["embed-images", "RUN", "PHOTOS", "--out", "x.csv"], "x.csv would hold Parquet; name a file"),
        (["embed-images", "RUN", "PHOTOS", "--out", "PHOTOS"], "is a folder"),
        (["search", "RUN", "nope.jpg", "PHOTOS"], "nope.jpg is no file"),
        (["search", "RUN", "PHOTOS/notes.txt", "PHOTOS"], "cannot read"),
        (["search", "RUN", "PHOTOS/a/0.jpg", "PHOTOS", "--html", "PHOTOS"], "is a folder"),
        (["package", "nope", "--out", "x"], "unknown run 'nope'"),
        (["package", "RUN", "--out", "PHOTOS"], "exists and is no package"),
        (["verify", "PHOTOS"], "is no package"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(run, photos, arguments, words):
    folder, _ = photos
    filled = [each.replace("RUN", str(run)).replace("PHOTOS", str(folder)) for each in arguments]
    before = sorted(folder.rglob("*"))
    with pytest.raises(HierError, match=re.escape(words)) as raised:
        hier(*filled)
    assert "\n" not in str(raised.value)
    assert sorted(folder.rglob("*")) == before
    assert not Path("x").exists()


def test_a_torn_photo_is_named_and_nothing_is_written(run, photos, tmp_path):
    folder, _ = photos
    whole = (folder / "a/0.jpg").read_bytes()
    (folder / "a/0.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HierError, match=r"cannot read .*a/0\.jpg") as raised:
        hier("embed-images", run, folder, "--out", tmp_path / "x.parquet")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.glob("*.parquet")) == []


def test_a_package_tells_what_it_is(run, packaged):
    card = ModelCard.load(packaged / "README.md")
    metrics = {each.metric_name: each.metric_value for each in card.data.eval_results}
    assert card.data.license == "other"
    assert card.data.library_name == "timm"
    assert set(metrics) >= {"R@1", "super-class R@1", "MAP@R"}
    assert f"| R@1 | {metrics['R@1']:.2f} | – | not graded |" in card.text
    assert "| tree of proxies | purity by family |" in card.text
    assert "Demo: creatures drawn on the spot" in card.text
    found = load_file(packaged / "proxies.safetensors")
    trained = load_file(run / "proxies.safetensors")["regularizer.proxies"]
    assert np.array_equal(found["parameters"], trained)
    norms = np.linalg.norm(found["proxies"], axis=1)
    expected = np.tanh(0.1**0.5 * np.minimum(np.linalg.norm(trained, axis=1), 2.3)) / 0.1**0.5
    np.testing.assert_allclose(norms, np.minimum(expected, max_norm(0.1)), rtol=1e-5)


def test_a_package_is_proved(run, packaged):
    said = hier("verify", packaged).stdout
    assert f"the model is that of {run.name}, by runs/{run.name}/train.record.json" in said
    assert all(path.name in said for path in packaged.iterdir())
    assert "not proved" not in said


@pytest.mark.parametrize(
    "name", ["model.safetensors", "head.safetensors", "model.onnx", "README.md", "config.json"]
)
def test_a_changed_bit_is_named(run, packaged, tmp_path, name):
    copy = Path(shutil.copytree(packaged, tmp_path / "copy"))
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(TamperedError, match=f": {re.escape(name)} is other bytes") as raised:
        hier("verify", copy)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)


def test_files_that_are_lacking_or_too_many_are_named(run, packaged, tmp_path):
    copy = Path(shutil.copytree(packaged, tmp_path / "copy"))
    (copy / "preprocessor_config.json").rename(copy / "other.json")
    with pytest.raises(TamperedError, match=r"other.json is no part of it, preprocessor_config.json is lack"):
        hier("verify", copy)


def test_what_cannot_be_made_anew_is_said(run, packaged, tmp_path, monkeypatch):
    """Without onnx, and without the files of the run that git does not keep."""
    monkeypatch.setattr(onnx_graph, "NEEDED", ("onnx", "no_such_package"))
    for name in ("model.safetensors", "proxies.safetensors", "metrics.json"):
        (run / name).rename(tmp_path / name)
    try:
        said = hier("verify", packaged).stdout
        with pytest.raises(HierError, match=r"model.safetensors is missing"):
            hier("package", run, "--out", tmp_path / "package")
    finally:
        for name in ("model.safetensors", "proxies.safetensors", "metrics.json"):
            (tmp_path / name).rename(run / name)
    assert "not proved: model.onnx: onnx and onnxscript are not installed" in said
    assert f"not proved: proxies.safetensors: runs/{run.name}/proxies.safetensors is not here" in said
    assert f"not proved: README.md: runs/{run.name}/metrics.json is not here" in said
    with pytest.raises(HierError, match=r"no_such_package is not installed; .*pip install onnx onnxscript"):
        hier("package", run, "--out", tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_a_model_of_which_nothing_here_knows_is_not_proved(run, packaged, tmp_path, monkeypatch):
    (tmp_path / "conf/suite").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HierError, match=r"an entry of dvc\.lock"):
        hier("verify", packaged)
    out = {"path": f"runs/{run.name}/model.safetensors", "hash": "md5", "md5": "0" * 32, "size": 1}
    entry = {"cmd": f"hier train {run.name}", "outs": [out]}
    lock = json.dumps({"schema": "2.0", "stages": {f"train@{run.name}": entry}})
    Path("dvc.lock").write_text(lock)
    with pytest.raises(TamperedError, match=r"dvc.lock says"):
        hier("verify", packaged)
