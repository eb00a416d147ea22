"""The plan on the terminal: every run, its cost, and how far it has come."""

import re
from pathlib import Path

import pytest

from hier.config.compose import compose
from hier.config.suite import only
from hier.errors import ConfigError, UnknownNameError
from hier.reporting.plan import images_of, show, sizes, state

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def suite():
    return compose(
        ["suite=smoke", "methods=[untrained,pa,hier]", "runs.*-hier-*.schedule.epochs=1500"], CONF
    )


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(run, *names):
    for name in names:
        path = Path("runs", run, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_every_run_with_its_cost_and_state(suite, capsys):
    made("smoke-pa-test_resnet-16-s0", "model.safetensors")
    show(suite)
    out = capsys.readouterr().out
    rows = [
        [part.strip() for part in re.split("[│┃|]", line)[1:-1]]
        for line in out.splitlines()
        if "│" in line
    ]
    # 32 training images × epochs
    common = ["test_resnet", "16", "0"]
    assert rows == [
        [
            "smoke-untrained-test_resnet-16-s0",
            "smoke",
            "untrained",
            *common,
            "0",
            "0",
            "–",
            "not run",
        ],
        ["smoke-pa-test_resnet-16-s0", "smoke", "pa", *common, "2", "64", "–", "trained"],
        [
            "smoke-hier-test_resnet-16-s0",
            "smoke",
            "hier",
            *common,
            "1500",
            "48,000",
            "–",
            "not run",
        ],
    ]
    assert "suite smoke: 3 runs" in out
    assert "48,064 training images in all" in out


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([], "not run"),
        (["history.csv"], "not run"),
        (["model.safetensors"], "trained"),
        (["model.safetensors", "embeddings.safetensors"], "embedded"),
        (["model.safetensors", "embeddings.safetensors", "metrics.json"], "evaluated"),
    ],
)
def test_how_far_a_run_has_come(files, word):
    made("some-run", *files)
    made("some-other-run", "metrics.json")
    assert state("some-run") == word


def test_images_trained_on_and_looked_at():
    suite = compose(["suite=smoke", "methods=[pa]", "sampler.batch_size=10", "protocol.test_every=2",
                     "schedule.epochs=5"], CONF)  # fmt: skip
    (run,) = suite.runs.values()
    # 32 images are 3 batches of 10; looks after epochs 2, 4 and 5, and the final embedding
    assert images_of(run, suite.dataset("smoke")) == (150, 4 * 32)


def test_hours_from_a_given_rate(suite, capsys):
    # 48,064 training images at 10/s, and 3 final embeddings of 32 images at three times that
    show(suite, images_per_second=10.0)
    hours = (48_064 / 10 + 3 * 32 / 30) / 3600
    assert f"{hours:.2f} hours on one device at 10 images/s" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_measured_rate_is_said_with_its_backbone(suite, capsys):
    show(only(suite, method=("pa",)), measured=True)
    assert re.search(
        r"images/s in training: test_resnet 32 px [\d.e+]+\)",
        " ".join(capsys.readouterr().out.split()),
    )


def test_sizes_of_a_download():
    suite = compose(["suite=table1", "methods=[pretrained]"], CONF)
    assert (
        sizes(suite.dataset("cub"))
        == "11,788 images, 1.15 GB to download, at most 12.4 GB prepared"
    )
    assert "1.96 GB" in sizes(
        suite.dataset("cars")
    )  # its first source states no sizes, its second does
    assert "unknown size" in sizes(suite.dataset("inshop"))


def test_some_of_a_suites_runs(suite):
    kept = only(suite, method=("pa", "hier"), backbone=("test_resnet",), dataset=())
    assert [run.method for run in kept.runs.values()] == ["pa", "hier"]
    assert only(suite) == suite
    with pytest.raises(
        UnknownNameError,
        match="unknown method of suite smoke: 'ms'; choose from: untrained, pa, hier",
    ):
        only(suite, method=("ms",))
    table1 = compose(["suite=table1", "methods=[pretrained]"], CONF)
    assert list(only(table1, dataset=("sop",)).datasets) == ["sop"]
    with pytest.raises(ConfigError, match="no run of that"):
        only(suite.model_copy(update={"runs": {}}))
