"""Pictures of one content in two kinds of file, through the real stages to the same embeddings."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from fakes.settings import write_settings
from fakes.training import torch_as_before
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.jobs import job
from hier.pipeline import EMBEDDINGS, METRICS
from hier.stages import embed, evaluate, prepare, train

CONF = Path(__file__).parents[2] / "conf"
RUN = "smoke-untrained-test_resnet-16-s0"
CLASSES, EACH, SIDE = 12, 4, 32


def picture(label, number):
    """A class's own coarse pattern of greys under a little noise of the image's, uint8."""
    pattern = np.random.default_rng(label).integers(40, 216, (4, 4)).repeat(8, 0).repeat(8, 1)
    noise = np.random.default_rng(1000 + CLASSES * number + label).integers(-4, 5, (SIDE, SIDE))
    return (pattern + noise).astype(np.uint8)


def write_archive(folder, factor, kind):
    """CUB's layout with grey PNGs of each value × `factor`."""
    folder.mkdir(parents=True)
    lists = {"images": [], "image_class_labels": [], "classes": []}
    content = {}
    for label in range(CLASSES):
        lists["classes"].append(f"{label + 1} {label + 1:03}.Made_up_{label}")
        for number in range(EACH):
            name, row = f"{label}/{number}.png", label * EACH + number + 1
            stream = io.BytesIO()
            Image.fromarray(picture(label, number).astype(kind) * kind(factor)).save(stream, "PNG")
            content[f"images/{name}"] = stream.getvalue()
            lists["images"].append(f"{row} {name}")
            lists["image_class_labels"].append(f"{row} {label + 1}")
    content |= {f"{name}.txt": "\n".join(lines).encode() for name, lines in lists.items()}
    with tarfile.open(folder / "smoke.tgz", "w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(f"CUB_200_2011/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Embeddings and metrics of an untrained network for the archive that was asked for."""
    half = CLASSES // 2
    images = f"{{train:{half * EACH},test:{half * EACH}}}"
    counts = f"{{images:{images},train_classes:{half},test_classes:{half}}}"
    changed = ["dataset.superclass=false", "dataset.levels=[class]", f"dataset.counts={counts}"]
    chosen = ["suite=smoke", "methods=[untrained]", "runtime.device=cpu"]
    suite = compose([*chosen, *changed], CONF)

    def made(name, *archive):
        folder = tmp_path / name
        write_archive(folder / "data/smoke/archive", *archive)
        monkeypatch.chdir(folder)
        params = Settings.of(suite)
        write_settings(params)
        Path("runs", RUN).mkdir(parents=True)
        for stage, key in ((prepare, "smoke"), (train, RUN), (embed, RUN), (evaluate, RUN)):
            stage.run(job(stage.__name__.rpartition(".")[2], key, params), suite, "same")
        return load_file(EMBEDDINGS.format(run=RUN))["embedding"], json.loads(
            Path(METRICS.format(run=RUN)).read_text()
        )

    with torch_as_before():
        yield made


def test_16_bit_files_embed_as_the_8_bit_ones_do(results):
    narrow, metrics = results("narrow", 1, np.uint8)
    wide, of_wide = results("wide", 257, np.uint16)
    assert len(np.unique(narrow, axis=0)) == len(narrow) == CLASSES // 2 * EACH
    np.testing.assert_array_equal(wide, narrow)
    assert metrics["recall"]["1"] == of_wide["recall"]["1"] == 1.0
