"""Malformed inputs at the command line, each in one line with an exit code, and nothing written.

The commands run in this process, in a project that is composed once and copied for each.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest

from hier import cli, project
from hier.config.compose import compose
from hier.config.params import texts
from hier.dvc_view import DVC_YAML, dvc_yaml

ROOT = Path(__file__).parents[1]
RUN = "smoke-hier-test_resnet-16-s0"
OTHER = "smoke-pa-test_resnet-16-s0"
METRICS = f"runs/{RUN}/metrics.json"
HEAD = "run,measure,expected,tolerance,metrics_sha256,settings_sha256\n"


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """A project with suite `smoke`, of which nothing was run."""
    folder = tmp_path_factory.mktemp("composed") / "project"
    for name in ("conf", "expected", "src"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    params = compose(["suite=smoke"], folder / "conf").model_dump()
    for path, text in (texts(params) | {DVC_YAML: dvc_yaml(params)}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def here(composed, tmp_path, monkeypatch):
    """A copy of it, which is the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(composed, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.setattr(project, "PACKAGE", folder / "src/hier")
    return folder


@pytest.fixture
def call(here, monkeypatch, capfd):
    """Run `hier` with these words: the exit code, and what it says on standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["hier", *words])
        code = cli._run_command(debug=False)
        return code, capfd.readouterr().err

    return run


def snapshot(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".hier" not in path.parts
    }


def put(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def without_suite():
    text = Path("params.yaml").read_text()
    put("params.yaml", text.replace("suite: smoke\n", ""))


MALFORMED = {
    "no suite in params.yaml": (
        without_suite, ["trace", RUN], 2, "params.yaml: suite: is missing",
    ),
    "no suite in params.yaml, diff": (
        without_suite, ["diff", RUN, OTHER], 2, "params.yaml: suite: is missing",
    ),
    "a text among the references": (
        lambda: put("expected/smoke.csv", f"{HEAD}{RUN},R@1,high,5,a,b\n"), ["trace", RUN], 1,
        "expected/smoke.csv is damaged (line 2: expected is 'high'",
    ),
    "semicolons among the references": (
        lambda: put("expected/smoke.csv", HEAD.replace(",", ";")), ["verify"], 1,
        "expected/smoke.csv is damaged (it has no column run)",
    ),
    "a reference twice": (
        lambda: put("expected/smoke.csv", HEAD + 2 * f"{RUN},R@1,50,5,a,b\n"), ["verify"], 1,
        f"expected/smoke.csv is damaged (line 3: {RUN} R@1 occurs twice)",
    ),
    "the paper twice": (
        lambda: put(
            "expected/paper.csv",
            "method,backbone,dim,dataset,k,recall_percent\n" + 2 * "PA,resnet50,128,cub,1,50\n",
        ),
        ["verify"], 1, "expected/paper.csv is damaged (",
    ),
    "a text in the paper": (
        lambda: put(
            "expected/paper.csv",
            "method,backbone,dim,dataset,k,recall_percent\nPA,test_resnet,16,smoke,1,high\n",
        ),
        ["verify"], 1, "expected/paper.csv is damaged (",
    ),
    "a text among the metrics": (
        lambda: put(METRICS, json.dumps({"recall": {"1": "0.5"}, "map_at_r": 0.5})),
        ["verify", "--update-expected"], 1,
        f"{METRICS} is damaged (R@1 is '0.5', which is no number from 0 to 1)",
    ),
    "NaN among the metrics": (
        lambda: put(METRICS, '{"recall": {"1": NaN}, "map_at_r": 0.5}'),
        ["verify", "--update-expected"], 1, f"{METRICS} is damaged (R@1 is 'nan'",
    ),
    "a name of two lines": (lambda: None, ["train", "a\nb"], 2, "unknown run 'a b'; choose from"),
    "a mark before a suite": (
        lambda: put("conf/suite/smoke.yaml", b"\xef\xbb\xbf# @package _global_\nsuite: smoke\n"),
        ["compose", "suite=smoke"], 2, "conf/suite/smoke.yaml begins with a byte order mark",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_one_line_and_leaves_everything(here, call, name):
    spoil, words, expected, said = MALFORMED[name]
    spoil()
    before = snapshot(here)
    code, error = call(*words)
    assert (code, error.count("\n")) == (expected, 1)
    assert error.startswith(f"error: {said}")
    assert snapshot(here) == before
