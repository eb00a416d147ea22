"""A measure is added in one place, in a copy of the source, and is then everywhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

ENTRY = """
    Measure(
        "error", "error@{}",
        lambda of: {k: 1 - share for k, share in of.retrieval.class_recall([1]).items()},
        higher_is_better=False, digits=1,
    ),
"""
"""The one thing that is added: how often the nearest neighbour is wrong. Lower is better."""

SCRIPT = '''
import csv, json, sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from fakes.content import content_of
from fakes.settings import write_settings
from fakes.trees import index_of
from hier.config.compose import compose
from hier.config.settings import Settings
from hier.evaluation.retrieval.queries_and_gallery import Retrieval
from hier.files.hashing import Hasher
from hier.ledger.record import content_key, fingerprint
from hier.jobs import jobs
from hier.pipeline import STAGES
from hier.reporting.site import write_report
from hier.results.cells import graded_cells
from hier.results.expected import read_metrics, record_expected, references
from hier.results.measures import MEASURES, computed
from hier.results.table import markdown
from hier.stages.evaluate import Evaluation

suite = compose(["suite=smoke", "methods=[untrained,pa]"], Path(sys.argv[1]) / "conf")
keys = {}
settings = Settings.of(suite)
write_settings(settings)
for job in jobs(settings):
    keys[job.stage.name] = content_key(fingerprint(replace(job, inputs=()), Hasher()))
metrics = {}
generator = torch.Generator().manual_seed(0)
for number, run in enumerate(suite.runs.values()):
    points = torch.randn(24, 16, generator=generator) / 10
    points[:, 0] += number * torch.arange(24) % 4
    index = index_of([f"c{i % 4}" for i in range(24)], [f"k{i % 2}" for i in range(24)])
    path = Path("runs", run.name, "metrics.json")
    path.parent.mkdir(parents=True)
    found = computed(MEASURES, Evaluation(run, [1, 2], Retrieval(points / 10, index, run)))
    path.write_text(json.dumps(found))
    metrics[run.name] = read_metrics(path)
record_expected(suite)
cells = graded_cells(suite)
Path("pages").mkdir()
write_report(Path("pages"), content_of(suite, Path("."), cells=cells, metrics=metrics))
print(json.dumps({
    "keys": keys,
    "metrics": metrics,
    "cells": cells[["run", "measure", "value", "grade"]].to_dict("records"),
    "markdown": markdown(cells, "smoke"),
    "expected": references("smoke"),
    "index": Path("pages/index.html").read_text(),
    "pages": [path.read_text() for path in sorted(Path("pages/runs").glob("*.html"))],
}))
'''  # fmt: skip


def told(folder, entry=""):
    """What a copy of the source gives, in which `entry` was added to the list of measures."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "expected", folder / "expected")
    measures = folder / "src/hier/results/measures.py"
    text = measures.read_text()
    at = text.index("    _other(", text.index("MEASURES = ("))
    measures.write_text(text[:at] + entry.lstrip("\n") + text[at:])
    paths = os.pathsep.join(map(str, (folder / "src", TESTS)))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT)],
        cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return told(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    return told(tmp_path_factory.mktemp("after"), ENTRY)


def of_error(rows):
    return [row for row in rows if row["measure"] == "error@1"]


def test_only_evaluate_and_what_follows_is_stale(before, after):
    changed = {name for name, key in before["keys"].items() if after["keys"][name] != key}
    assert changed == {"evaluate", "tabulate", "report"}


def test_metrics_json_has_it_in_its_place_and_the_rest_as_before(before, after):
    for run, metrics in after["metrics"].items():
        keys = list(metrics)
        assert keys[keys.index("map_at_r") + 1] == "error"
        assert metrics.pop("error") == {"1": 1 - metrics["recall"]["1"]}
        assert metrics == before["metrics"][run]


def test_the_table_has_it_with_its_digits_and_the_lowest_is_bold(before, after):
    cells = of_error(after["cells"])
    assert [cell["grade"] for cell in cells] == ["identical", "identical"]
    assert not of_error(before["cells"])
    head, _, *rows = after["markdown"].splitlines()[2:6]
    at = [name.strip() for name in head.split("|")].index("error@1")
    shown = [row.split("|")[at].strip() for row in rows]
    low, high = sorted(cell["value"] for cell in cells)
    assert low < high
    assert set(shown) == {f"**{low:.1f}**", f"{high:.1f}"}


def test_the_expected_values_have_it(after):
    untrained, trained = of_error(after["expected"])
    values = [cell["value"] for cell in of_error(after["cells"])]
    assert [untrained["expected"], trained["expected"]] == pytest.approx(values, abs=5e-5)


def test_the_pages_have_it(before, after):
    assert "error@1</th>" in after["index"]
    assert all("error@1</th>" in page for page in after["pages"])
    assert "error@1" not in before["index"]
    for cell in of_error(after["cells"]):
        assert any(f"{cell['value']:.1f}</td>" in page for page in after["pages"])
