"""What curves show: terms, learning rates as training sets them, recall, and the same in words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hier.config.compose import compose
from hier.errors import DamagedInputError
from hier.models.network import build_network
from hier.reporting.history import (
    learning_rates,
    panels,
    read_history,
    recalls,
    svg,
    terms,
    training_curves,
)
from hier.training.objective import Objective
from hier.training.optimisation import build_optimizer, start_epoch

CONF = Path(__file__).parents[2] / "conf"
METHODS = ["pa", "ms", "hyp", "hier", "pnca", "softtriple", "nsoftmax", "xbm"]


@pytest.fixture(scope="module")
def runs():
    words = ["schedule.epochs=6", "schedule.warmup_epochs=2"]
    step = ["schedule.name=step", "schedule.step_size=2", "schedule.gamma=0.5"]
    small = ["dataset=demo", "backbone=test_resnet", "recipe=demo", "dim=16"]
    suite = compose(["suite=ablation-losses", *small, *words, *step], CONF)
    return {run.method: run for run in suite.runs.values()}


def history(**columns):
    return pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "rate": 1.0, **columns})


@pytest.mark.parametrize("method", METHODS)
def test_learning_rates_are_those_of_the_optimizer(runs, method):
    """Against the optimizer itself, epoch by epoch; a frozen backbone has none."""
    run = runs[method]
    network = build_network(run.backbone, run.head)
    optimizer = build_optimizer(network, Objective(run, 4), run.optimizer)
    rows, rates = [], []
    for epoch in range(run.schedule.epochs):
        rate = start_epoch(optimizer, run.schedule, epoch)
        rates.append(rate)
        row = {group["name"].replace("_", " "): group["lr"] for group in optimizer.param_groups}
        rows.append(row)
    table = pd.DataFrame({"epoch": range(1, len(rows) + 1), "rate": rates})
    found = learning_rates(table, run)
    assert set(found) == set(rows[0])
    torch.testing.assert_close(
        torch.tensor(found.to_numpy()), torch.tensor(pd.DataFrame(rows)[list(found)].to_numpy())
    )
    assert (found["backbone"] == 0).sum() == run.schedule.warmup_epochs


def test_a_loss_of_one_term_is_one_line():
    assert list(terms(history(metric=[3.0, 2.0, 1.0]))) == ["loss"]
    assert list(terms(history(metric=[2.0, 1.5, 0.7], hier=[1.0, 0.5, 0.3]))) == [
        "loss",
        "metric",
        "hier",
    ]


def test_recall_is_shown_where_it_was_looked_at(runs):
    nan = float("nan")
    looked = history(**{"test R@1": [nan, 0.5, 0.75], "held-out R@1": nan})
    assert recalls(looked).to_dict("list").keys() == {"test R@1"}
    *_, last = panels(looked, runs["pa"])
    assert last["title"] == "Recall while training"
    assert last["lines"] == {"test R@1": [None, 50.0, 75.0]}
    assert last["words"] == "test R@1: rises from 50 at epoch 2 to 75 at epoch 3."
    assert [p["title"] for p in panels(history(), runs["pa"])] == ["Loss", "Learning rate"]
    assert panels(history()[:0], runs["pa"]) == []


def test_words_say_where_a_line_goes(runs):
    loss, rates = panels(history(rate=[1.0, 0.5, 0.5]), runs["ms"])
    assert loss["words"] == "loss: falls from 3 at epoch 1 to 1 at epoch 3."
    assert "head: falls from" in rates["words"]
    assert "throughout" in panels(history(), runs["ms"])[1]["words"]


def test_a_figure_is_the_same_bytes_and_has_a_line_per_term(runs):
    both = history(metric=[2.0, 1.5, 0.75], hier=[1.0, 0.5, 0.25])

    def drawn(table, method="hier"):
        return svg(training_curves(panels(table, runs[method])))

    assert drawn(both) == drawn(both)
    assert drawn(both) != drawn(both.assign(hier=[1.0, 0.5, 0.3]))
    for term in ("loss", "metric", "hier", "hierarchical proxies"):
        assert drawn(both).count(f">{term}</text>") == 1
    assert "<dc:date>" not in drawn(both)
    assert drawn(both).startswith("<?xml")


def test_numbers_are_given_to_six_digits(runs):
    (first, _) = panels(history(loss=[np.pi, 2.0, 1.0]), runs["ms"])
    assert first["lines"]["loss"] == [3.14159, 2.0, 1.0]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_history_is_read(tmp_path, mark):
    path = tmp_path / "history.csv"
    path.write_text(f"{mark}epoch,loss,rate,test R@1\n1,2.5,1.0,\n2,1.5,0.1,0.5\n")
    read = read_history(path)
    assert list(read["epoch"]) == [1, 2]
    assert list(read["loss"]) == [2.5, 1.5]
    path.write_text("epoch,loss,rate\n")  # of a run that is not trained
    assert not len(read_history(path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No columns to parse from file"),
        ("a,b\n1,2\n", "it has no column epoch"),
        ("epoch,loss,rate\none,2,1\n", "Unable to parse string 'one'"),
        ("epoch,loss,rate,test R@1\n1,2,1,good\n", "Unable to parse string 'good'"),
        ("epoch,loss,rate\n1,nan,1\n", "an epoch occurs twice, or lacks its number, loss or rate"),
        ("epoch,loss,rate\n1,2,1\n1,2,1\n", "an epoch occurs twice"),
        ("epoch,loss,rate\n1,2,1\n2\n", "an epoch occurs twice, or lacks"),
    ],
)
def test_what_is_no_history_is_one_line(tmp_path, monkeypatch, text, reason):
    monkeypatch.chdir(tmp_path)
    path = Path("runs/r/history.csv")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DamagedInputError) as caught:
        read_history(path)
    assert str(caught.value).startswith(f"runs/r/history.csv is damaged ({reason}")
    assert str(caught.value).endswith("make it anew with: hier train r")
