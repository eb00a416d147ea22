"""hier adopt: what DVC leaves out, and says nothing of, is told."""

import shutil

import pytest

from hier.audit import adopt as adopting
from hier.config.settings import Settings
from hier.errors import HierError
from hier.ledger.dvc_lock import LOCK


@pytest.fixture
def called():
    """The calls of DVC."""
    return []


@pytest.fixture
def made(toy, called, monkeypatch):
    """The toy with all its results, and DVC replaced by a function that is given."""
    for name in toy.NAMES:
        toy.make(name)

    def with_dvc(does):
        monkeypatch.setattr(adopting, "call", lambda *words: called.append(words) or does())
        return adopting.adopt(lambda _: None)

    return with_dvc


def test_what_dvc_entered_is_adopted(toy, made):
    assert made(toy.adopt) == "adopted 5 stages; `dvc status` agrees"


def test_a_stage_that_dvc_left_out_is_told(toy, made):
    """As where dvc.yaml is not there: `dvc commit` does nothing and is content."""
    with pytest.raises(HierError, match=r"DVC did not enter shop@veg into dvc\.lock; is it in dvc"):
        made(lambda: None)
    assert not LOCK.exists()

    def all_but_one():
        toy.write_lock({toy.job(name).dvc_name: toy.entry(name) for name in toy.NAMES[:-1]})

    with pytest.raises(HierError, match=r"DVC did not enter serve@menu into dvc\.lock"):
        made(all_but_one)
    assert Settings.read()  # nothing was changed in the settings


def test_beside_results_that_are_not_here_what_is_new_is_named_as_dvc_names_it(toy, made, called):
    toy.adopt()
    toy.write_lock({name: toy.entry(name) for name in toy.NAMES if not name.startswith("serve")})
    shutil.rmtree("data/veg/larder")
    assert made(toy.adopt) == ("adopted 1 stage, 3 had been before; 1 more are committed, not here")
    assert called == [("dvc", "commit", "--force", "serve-menu")]
