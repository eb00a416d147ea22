"""The plan on the terminal: every run, its cost, and how far it has come."""

import re
from pathlib import Path

import pytest

from hier.config.compose import compose
from hier.reporting.plan import show, state

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
        ["smoke-untrained-test_resnet-16-s0", "smoke", "untrained", *common, "0", "0", "not run"],
        ["smoke-pa-test_resnet-16-s0", "smoke", "pa", *common, "2", "64", "trained"],
        ["smoke-hier-test_resnet-16-s0", "smoke", "hier", *common, "1500", "48,000", "not run"],
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
