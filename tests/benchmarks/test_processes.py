"""The benchmark of several processes, with made-up times and results."""

from pathlib import Path

import pytest

import processes
from hier.config.compose import compose

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(("of_two", "missed"), [("same", False), ("other", True)])
def test_other_bytes_are_a_missed_bound(monkeypatch, capsys, tmp_path, of_two, missed):
    """One process takes 8 s, two take 5; an epoch has 48 images."""
    asked = []

    def trained(run, folder):
        asked.append((run.sampler.shards, run.runtime.processes))
        return (8.0, "same") if run.runtime.processes == 1 else (5.0, of_two)

    monkeypatch.setattr(processes, "trained", trained)
    run = compose(["suite=smoke"], CONF).run("smoke-hier-test_resnet-16-s0")
    printed = processes.Table()
    processes.compare(printed, "tiny", processes.changed(run, processes.SETTINGS), 2)
    assert asked == [(2, 1), (2, 2)] * 2
    out = capsys.readouterr().out
    assert "| tiny, 24 images in 2 shards | one process / two processes | 1.60 | 1.60–1.60 |" in out
    assert "| images per second, one process | 6.00 |" in out
    assert "| images per second, two processes | 9.60 |" in out
    assert printed.missed == missed
