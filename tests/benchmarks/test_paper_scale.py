"""The benchmark at paper scale, at a tiny scale: it runs, and its figures agree with each other."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from hier.config.compose import compose
from hier.config.run import Run
from hier.errors import ConfigError, UnknownNameError
from hier.planning.plan import EMBEDS_FASTER, images_of

ROOT = Path(__file__).parents[2]
RUN = "smoke-hier-test_resnet-16-s0"
TINY = ["--suite", "smoke", "--run", RUN, "--images", "24", "--classes", "4", "--workers", "0"]


@pytest.fixture(scope="module")
def paper_scale():
    spec = spec_from_file_location("paper_scale", ROOT / "benchmarks/paper_scale.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def suite():
    return compose(["suite=smoke"], ROOT / "conf")


def rows_of(text):
    """The Markdown table as {figure: value}."""
    cells = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return dict(cells[2:])


def number(text):
    return float(text.replace(",", ""))


def test_one_command_prints_the_figures(paper_scale, suite, tmp_path, capsys):
    paper_scale.main([*TINY, "--out", str(tmp_path)])
    out = capsys.readouterr().out
    rows = rows_of(out)
    assert list(rows) == [
        "device", "torch", "run", "settings", "images, training + test", "training, images/s (epoch 2)",
        "embedding, images/s", "peak memory, GB", "epoch with evaluation, s", "of which evaluation, s",
        "this run, 2 such epochs, hours", "suite smoke, 5 runs, hours on one such device",
    ]  # fmt: skip
    assert rows["run"].startswith(f"{RUN}: test_resnet")
    assert rows["images, training + test"] == "24 + 24 of 4 + 4 classes"
    rate = number(rows["training, images/s (epoch 2)"])
    assert rate > 0
    assert number(rows["embedding, images/s"]) > 0
    assert 0 < number(rows["peak memory, GB"]) < 100
    seconds, looking = (number(rows[k]) for k in list(rows)[8:10])
    assert seconds == pytest.approx(24 / rate + looking, rel=0.05, abs=0.02)
    assert number(rows["this run, 2 such epochs, hours"]) == pytest.approx(
        2 * seconds / 3600, rel=0.05, abs=1e-5
    )
    counted = [images_of(run, suite.dataset("smoke")) for run in suite.runs.values()]
    trained, embedded = map(sum, zip(*counted, strict=True))
    hours = (trained / rate + embedded / (EMBEDS_FASTER * rate)) / 3600
    assert number(rows["suite smoke, 5 runs, hours on one such device"]) == pytest.approx(hours, rel=0.01)
    assert list(tmp_path.iterdir()) == []  # the noise is gone


def test_figures_follow_from_the_times(paper_scale, suite):
    epochs = [paper_scale.Epoch(0.0, 9.0, 10.0), paper_scale.Epoch(11.0, 16.0, 18.5)]
    figures = paper_scale.Figures("a GPU", 3_210_000_000, epochs, 5760, 4000.0, {})
    assert figures.training == 5760 / 5
    assert figures.seconds_per_epoch == 7.5
    rows = rows_of(paper_scale.table(figures, suite.run(RUN), suite.dataset("smoke"), suite))
    assert rows["device"] == "a GPU"
    assert rows["training, images/s (epoch 2)"] == "1,152"
    assert rows["peak memory, GB"] == "3.21"
    assert rows["of which evaluation, s"] == "2.50"
    assert rows["this run, 2 such epochs, hours"] == f"{2 * 7.5 / 3600:.3g}"


def test_the_run_is_the_papers_unless_told_otherwise(paper_scale):
    suite = compose(["suite=table1", "dataset=cub", "methods=[hier]"], ROOT / "conf")
    run, dataset = paper_scale.chosen(suite, paper_scale.parse([]))
    paper = suite.run("cub-hier-vit_small-384-s0")
    assert run.backbone.weights is None
    assert run.schedule.epochs == 2
    same = Run.model_fields.keys() - {"backbone", "schedule"}
    assert all(getattr(run, name) == getattr(paper, name) for name in same)
    assert dataset.counts == suite.dataset("cub").counts
    assert sum(dataset.counts.images.values()) == 5_864 + 5_924

    small, data = paper_scale.chosen(
        suite, paper_scale.parse(["--size", "32", "--batch", "24", "--images", "48", "--classes", "12"])
    )  # fmt: skip
    assert (small.augmentation.size, small.embed.crop, small.embed.resize) == (32, 32, 37)
    assert small.sampler.batch_size == 24
    assert data.counts.images == {"train": 48, "test": 48}
    with pytest.raises(ConfigError, match=r"neighbours 20 must be below sampler.batch_size 8"):
        paper_scale.chosen(suite, paper_scale.parse(["--batch", "8"]))
    with pytest.raises(ConfigError, match="trains no backbone; give at least 2"):
        paper_scale.chosen(suite, paper_scale.parse(["--epochs", "1"]))
    with pytest.raises(UnknownNameError, match="unknown run 'x'"):
        paper_scale.chosen(suite, paper_scale.parse(["--run", "x"]))


def test_the_made_up_store_is_read_as_any_other(paper_scale, suite, tmp_path):
    options = paper_scale.parse([*TINY, "--images", "10", "--classes", "5"])
    _, dataset = paper_scale.chosen(suite, options)
    paths = tmp_path / "index.parquet", tmp_path / "images.npy"
    paper_scale.make_data(dataset, 224, *paths)
    index, store = paper_scale.read_images(*paths)
    assert store[19].shape == (375, 500, 3)
    assert not np.array_equal(store[0], store[1])
    assert index.groupby("split")["label"].nunique().to_dict() == {"train": 5, "test": 5}


def test_a_mistake_is_one_line(paper_scale, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: 24 training images are less than a batch of 32$"):
        paper_scale.main([*TINY, "--batch", "32", "--out", str(tmp_path)])
