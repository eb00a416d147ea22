import pytest

from fakes import kitchen as fake


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """The small pipeline of fakes/kitchen.py in the current folder; nothing of it was run yet."""
    fake.furnish(tmp_path, monkeypatch)
    return fake
