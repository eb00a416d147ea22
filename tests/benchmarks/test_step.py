"""The benchmark of a training step, at a tiny scale."""

from pathlib import Path

import pytest
import torch

import step
from hier.config.compose import compose
from hier.planning.plan import Hours

CPU = torch.device("cpu")
CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def run():
    return step.with_batch(compose(["suite=smoke"], CONF).run("smoke-hier-test_resnet-16-s0"), 8)


def test_it_prints_the_rates_of_both_sides(run, monkeypatch, capsys):
    """Made-up times: a plain step takes 4 s, ours 2 s, of which the regulariser's share is 0.5 s."""
    took = {"plain": 4.0, "ours": 2.0, "no regulariser": 1.5}

    def note(self, name, work, share=1.0):
        work()
        self.seconds.setdefault(name, []).append(took[name])

    monkeypatch.setattr(step.Turns, "note", note)
    printed = step.Table()
    assert step.compare(printed, "vit_small", run, CPU, 2) == 4
    out = capsys.readouterr().out
    assert "| vit_small, 8 images | plain / ours | 2.00 | 2.00–2.00 |" in out
    assert "| regulariser, % of the step | 25.00 |" in out
    assert "| images per second, plain | 2.00 |" in out
    assert "| images per second, ours | 4.00 |" in out
    assert not printed.missed  # the bounds are a GPU's


def test_both_sides_do_the_same(run):
    """The same embeddings and, where HIER counts for nothing, the same gradients."""
    weightless = run.regularizer.model_copy(update={"weight": 0.0})
    sides = [
        kind(run.model_copy(update={"regularizer": weightless}), CPU) for kind in (step.Side, step.Plain)
    ]
    embeddings = [side.step.embed(side.images) for side in sides]
    torch.testing.assert_close(*embeddings)
    for side in sides:
        side.work(1)
    for one, other in zip(*(side.network.parameters() for side in sides), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4)
    assert [group["fused"] for side in sides for group in side.step.optimizer.param_groups[:1]] == [
        True,
        False,
    ]


def test_steps_are_fed_from_a_store(run, monkeypatch, tmp_path):
    for name, value in (("STEPS", 2), ("WORKERS", 1), ("HEIGHT", 20), ("WIDTH", 24)):
        monkeypatch.setattr(step, name, value)
    images, side, turns = step.stored(run, tmp_path), step.Side(run, CPU), step.Turns()
    assert images.steps == 3
    assert images.run.runtime.workers == 1
    learned = []
    monkeypatch.setattr(side, "step", lambda *batch: learned.append(batch))
    step.feed(turns, side, images, rounds=2)
    assert len(turns.seconds["ours from the store"]) == 2
    assert len(learned) == 2 * 3
    edge = run.augmentation.size
    assert all(batch.shape == (8, 3, edge, edge) for batch, _, _ in learned)


def test_hours_are_those_of_the_plan():
    suite = compose(["suite=table1"], CONF)
    rate = 50.0
    planned = Hours(suite, images_per_second=rate)
    expected = sum(planned.of(run) for run in suite.runs.values())
    found = step.hours(suite, {"vit_small": rate, "resnet50": rate})
    assert found == pytest.approx(expected)
