"""params.yaml as plain data, and its dotted keys."""

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hier.config.compose import compose, render
from hier.config.params import raw, select
from hier.errors import ConfigError, MissingInputError

CONF = Path(__file__).parents[2] / "conf"
PARAMS = {"runs": {"a-b-s0": {"seed": 3, "head": {"dim": None}}}, "suite": "x"}

names = st.text("abz_-0", min_size=1, max_size=4)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def leaves(tree, above=()):
    """Each part of a tree with its path, worked out apart from the code under test."""
    yield above, tree
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield from leaves(below, (*above, name))


@given(st.dictionaries(names, trees, min_size=1, max_size=3))
def test_every_part_is_found_at_its_dotted_key(tree):
    for path, part in leaves(tree):
        if path:
            assert select(tree, ".".join(path)) is part


@pytest.mark.parametrize(
    "key", ["nope", "runs.nope", "runs.a-b-s0.seed.x", "runs.a-b-s0.head.dim.x", "", "suite.x"]
)
def test_a_key_that_does_not_exist_is_one_line(key):
    with pytest.raises(ConfigError) as caught:
        select(PARAMS, key)
    assert str(caught.value) == f"params.yaml has no {key}; write it anew with: hier compose"


def test_a_value_that_is_none_is_found():
    assert select(PARAMS, "runs.a-b-s0.head.dim") is None


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(PARAMS))
    assert raw(path) == PARAMS
    path.write_text(yaml.safe_dump(PARAMS | {"suite": "y"}))
    assert raw(path)["suite"] == "y"  # read anew, since its text is another


def test_a_folder_without_it_names_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError) as caught:
        raw()
    assert str(caught.value) == "params.yaml is missing; make it with: hier compose"


def test_what_a_composition_renders_is_read_back_as_its_plain_data(tmp_path):
    suite = compose(["suite=smoke", "methods=[untrained,hier]"], CONF)
    (tmp_path / "params.yaml").write_text(render(suite))
    assert raw(tmp_path / "params.yaml") == suite.model_dump()


def test_a_process_that_runs_many_jobs_parses_it_once(tmp_path):
    suite = compose(["suite=smoke", "methods=[hier]", f"seeds={list(range(100))}"], CONF)
    path = tmp_path / "params.yaml"
    path.write_text(render(suite))
    first = raw(path)
    start = time.perf_counter()
    for _ in range(20):
        assert raw(path) is first
    assert time.perf_counter() - start < 0.5
