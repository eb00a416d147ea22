"""Malformed inputs at the command line, each in one line with an exit code, and nothing written.

The commands run in this process, in a project that is composed once and copied for each.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from hier import cli, project
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.dvc_view import DVC_YAML, dvc_yaml, why_unusable
from hier.results.expected import COLUMNS

ROOT = Path(__file__).parents[1]
RUN = "smoke-hier-test_resnet-16-s0"
OTHER = "smoke-pa-test_resnet-16-s0"
METRICS = f"runs/{RUN}/metrics.json"
HEAD = ",".join(COLUMNS) + "\n"


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """A project with suite `smoke`, of which nothing was run."""
    folder = tmp_path_factory.mktemp("composed") / "project"
    for name in ("conf", "expected", "src"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    settings = Settings.of(compose(["suite=smoke"], folder / "conf"))
    for path, text in (settings.texts() | {DVC_YAML: dvc_yaml(settings)}).items():
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


def pipe(path):
    """A pipe to which nobody writes: whoever reads it waits."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def without_suites():
    text = Path("params.yaml").read_text()
    put("params.yaml", text.replace("suites:\n- smoke\n", ""))


MALFORMED = {
    "no suites in params.yaml": (
        without_suites, ["trace", RUN], 2, "params.yaml: suites: must be names; write it anew with",
    ),
    "no suites in params.yaml, diff": (
        without_suites, ["diff", RUN, OTHER], 2, "params.yaml: suites: must be names; write it anew",
    ),
    "a run that params.yaml does not know": (
        lambda: put("params/suites/smoke.yaml", "runs: [nope]\n"), ["verify"], 2,
        "params.yaml: runs: nope is missing; write it anew with: hier compose suite=smoke",
    ),
    "a text among the references": (
        lambda: put("expected/smoke.csv", f"{HEAD}{RUN},R@1,high,5,1,1,a,m,s,,\n"), ["trace", RUN], 1,
        "expected/smoke.csv is damaged (line 2: expected is 'high'",
    ),
    "semicolons among the references": (
        lambda: put("expected/smoke.csv", HEAD.replace(",", ";")), ["verify"], 1,
        "expected/smoke.csv is damaged (it has no column run)",
    ),
    "a reference twice": (
        lambda: put("expected/smoke.csv", HEAD + 2 * f"{RUN},R@1,50,5,1,1,a,m,s,,\n"), ["verify"], 1,
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
    "a pipe in place of the metrics": (
        lambda: pipe(METRICS), ["verify", "--update-expected"], 1,
        f"{METRICS} is damaged (it is no regular file)",
    ),
    "a pipe in place of params.yaml": (
        lambda: pipe("params.yaml"), ["verify"], 2, "params.yaml is no regular file; remove it",
    ),
    "a folder in place of params.yaml": (
        lambda: (Path("params.yaml").unlink(), Path("params.yaml").mkdir()), ["verify"], 2,
        "params.yaml is a folder; remove it",
    ),
    "a folder in place of the references": (
        lambda: Path("expected/smoke.csv").mkdir(), ["verify"], 1,
        "expected/smoke.csv is damaged (it is no regular file)",
    ),
    "tabs in params.yaml": (
        lambda: put("params.yaml", Path("params.yaml").read_text().replace("\n  ", "\n\t")),
        ["verify"], 2, "params.yaml is not YAML (",
    ),
    "a pattern that no run has": (
        lambda: None, ["compose", "suite=smoke", "runs.nix*.schedule.epochs=5"], 2,
        "override 'runs.nix*.schedule.epochs=5': no run of suite smoke has a name like 'nix*' (it has smoke-",
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


BROKEN = {
    "no YAML": (lambda text: text.replace("stages:", "stages: ["), "dvc.yaml is not YAML ("),
    "no stages": (lambda text: "- 1\n", "dvc.yaml has no stages"),
    "a stage that is missing": (
        lambda text: text.replace("  embed:\n", "  embedded:\n"), "dvc.yaml has no stage embed",
    ),
    "a stage that was edited": (
        lambda text: text.replace("      deps:", "      depz:", 1),
        "dvc.yaml: stage download (line 3) is not as `hier compose` writes it",
    ),
    "no UTF-8": (lambda text: b"\xff\xfe", "dvc.yaml is not UTF-8 text"),
    "a conflict": (
        lambda text: f"<<<<<<< HEAD\n{text}=======\n>>>>>>> x\n", "dvc.yaml has git's conflict markers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_dvc_yaml_that_enters_nothing_is_said_with_its_line(here, name):
    spoil, said = BROKEN[name]
    assert why_unusable(Settings.read()) is None
    put(DVC_YAML, spoil(DVC_YAML.read_text()))
    assert why_unusable(Settings.read()).startswith(said)


def test_a_dvc_yaml_may_have_more(here):
    text = DVC_YAML.read_text()
    put(DVC_YAML, text.replace("stages:\n", "stages:\n  mine:\n    cmd: ls\n"))
    assert why_unusable(Settings.read()) is None
