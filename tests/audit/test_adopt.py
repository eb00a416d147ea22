"""hier adopt: what DVC leaves out, and says nothing of, is told."""

import pytest

from hier.audit import adopt as adopting
from hier.config.params import raw
from hier.errors import HierError
from hier.ledger.dvc_lock import LOCK


@pytest.fixture
def made(kitchen, monkeypatch):
    """The kitchen with all its results, and DVC replaced by a function that is given."""
    monkeypatch.setattr(adopting, "load", lambda: None)
    for name in kitchen.NAMES:
        kitchen.make(name)

    def with_dvc(does):
        monkeypatch.setattr(adopting, "call", lambda *_: does())
        return adopting.adopt(lambda _: None)

    return with_dvc


def test_what_dvc_entered_is_adopted(kitchen, made):
    assert made(kitchen.adopt) == "adopted 5 stages; `dvc status` agrees"


def test_a_stage_that_dvc_left_out_is_told(kitchen, made):
    """As where dvc.yaml is not there: `dvc commit` does nothing and is content."""
    with pytest.raises(HierError, match=r"DVC did not enter shop@veg into dvc\.lock; is it in dvc"):
        made(lambda: None)
    assert not LOCK.exists()

    def all_but_one():
        kitchen.write_lock({name: kitchen.entry(name) for name in kitchen.NAMES[:-1]})

    with pytest.raises(HierError, match=r"DVC did not enter serve into dvc\.lock"):
        made(all_but_one)
    assert raw()  # nothing was changed in the settings
