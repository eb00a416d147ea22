"""What a job asks a cluster for: of the settings and of kept rates, never of the machine that asks."""

import json
import sys
from pathlib import Path

import pytest

from hier import gpus as cards
from hier.config.compose import compose
from hier.pipeline import STAGES
from hier.planning import rates
from hier.planning.rates import kept_file, key_of
from hier.planning.requests import Request, Requests

CONF = Path(__file__).parents[2] / "conf"
DATE = "2026-01-31"
PA, UNTRAINED = "smoke-pa-test_resnet-16-s0", "smoke-untrained-test_resnet-16-s0"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def suite_with(*overrides):
    return compose(["suite=smoke", "methods=[untrained,pa]", *overrides], CONF)


def keep(**by_machine):
    """Keep rates as `hier plan --measure` does: of a machine, (a run, on a GPU, training, embedding)."""
    stored = {
        key_of(run, gpu, here): {"training": training, "embedding": embedding}
        | {"device": here, "date": DATE}
        for here, (run, gpu, training, embedding) in by_machine.items()
    }
    kept_file().parent.mkdir(parents=True, exist_ok=True)
    kept_file().write_text(json.dumps(stored))


def asked(suite, stage, run=PA, **options):
    return Requests(suite, **options).of(STAGES[stage], run)


# Overrides, and what training then asks for: with 4 GB a process, 0.5 a worker, and on a CPU
# 8 images × 32 × 32 px × 4 KB = 32.8 MB.
ASKED = {
    (): Request(1, 1, 4000, 240),
    ("runtime.device=cuda",): Request(1, 1, 4000, 240),
    ("runtime.device=cpu",): Request(0, 1, 4033, 240),
    ("runtime.threads=3", "runtime.workers=4"): Request(1, 7, 6000, 240),
}


@pytest.mark.parametrize("overrides", ASKED)
def test_training_asks_for_what_its_settings_say(overrides):
    assert asked(suite_with(*overrides), "train") == ASKED[overrides]


def test_each_process_of_a_training_has_a_card_processors_and_memory_of_its_own():
    suite = suite_with("runtime.threads=2", "runtime.workers=1")
    run = suite.run(PA)
    runtime = run.runtime.model_copy(update={"processes": 3})
    several = suite.model_copy(update={"runs": {PA: run.model_copy(update={"runtime": runtime})}})
    assert asked(several, "train") == Request(3, 9, 13_500, 240)
    assert asked(several, "embed") == Request(1, 3, 4500, 60)
    requests = Requests(several)
    assert [requests.threads(STAGES[name], PA) for name in ("train", "embed")] == [6, 2]


def test_in_a_cluster_without_cards_nothing_asks_for_one():
    suite = suite_with()
    assert asked(suite, "train", gpus=False) == Request(0, 1, 4033, 240)
    # 16 images × 32 × 32 px × 500 bytes
    assert asked(suite, "embed", gpus=False) == Request(0, 1, 4009, 60)
    assert asked(suite, "train", UNTRAINED, gpus=False).mem_mb == 4000


def test_the_other_stages_ask_for_no_card():
    suite = suite_with("runtime.threads=3", "runtime.workers=4")
    assert asked(suite, "evaluate") == asked(suite, "views") == Request(0, 3, 4000, 60)
    assert asked(suite, "prepare", "smoke") == Request(0, 1, 4000, 240)
    assert asked(suite, "report", "smoke") == Request(0, 1, 4000, 60)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_the_cards_of_the_machine_that_asks_count_for_nothing(tmp_path, monkeypatch, number):
    monkeypatch.setattr(cards, "DRIVER", tmp_path)
    monkeypatch.setattr(rates, "gpus", lambda: ["NVIDIA H100"] * number)
    for card in range(number):
        (tmp_path / str(card)).mkdir()
    assert cards.number() == number
    assert asked(suite_with(), "train") == Request(1, 1, 4000, 240)


# --- minutes -------------------------------------------------------------------------------------


def test_minutes_follow_from_the_slowest_rate_of_a_machine_with_a_card():
    suite = suite_with("schedule.epochs=1500", "protocol.test_every=500", "protocol.test_from=0")
    run = suite.run(PA)
    of = {"one": (run, True, 40.0, 3.2), "two": (run, True, 80.0, 4.0), "laptop": (run, False, 4.0, 0.1)}
    keep(**of)
    # 48,000 images at 40/s are 20 minutes. Epochs 0, 500, 1000 and the last are looked at, 32 images each
    # at 3.2/s: 40 s. Twice that, and 10 to start.
    assert asked(suite, "train").runtime == 10 + 2 * 20 + 2  # 41.33 is rounded up
    # 32 images at 3.2/s are 10 s
    assert asked(suite, "embed").runtime == 11
    keep(two=of["two"], laptop=of["laptop"])
    assert asked(suite, "train").runtime == 10 + 2 * 10 + 2  # 32 s of looks


def test_without_cards_the_rates_of_processors_count():
    suite = suite_with("schedule.epochs=15")
    run = suite.run(PA)
    keep(gpu=(run, True, 4800.0, 100.0), cpu=(run, False, 0.8, 100.0))
    assert asked(suite, "train").runtime == 11
    assert asked(suite, "train", gpus=False).runtime == 10 + 2 * 10
    keep(cpu=(run, False, 0.8, 100.0))
    assert asked(suite, "train").runtime == 10 + 2 * 10  # better than no rate at all


def test_a_long_training_is_cut_into_days():
    suite = suite_with("schedule.epochs=15000")
    keep(one=(suite.run(PA), True, 4.0, 100.0))
    assert asked(suite, "train").runtime == 24 * 60


def test_a_run_that_is_not_trained_needs_no_rate_of_training():
    suite = suite_with()
    keep(one=(suite.run(UNTRAINED), True, None, 3.2))
    assert asked(suite, "train", UNTRAINED).runtime == 10
    assert asked(suite, "embed", UNTRAINED).runtime == 11
    assert asked(suite, "train").runtime == 240  # of pa, none is kept


def test_asking_loads_no_torch(monkeypatch):
    import subprocess

    code = "import sys, hier.planning.requests; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
