"""The settings as plain data, their dotted keys, and the files in which they stand."""

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fakes.settings import write_settings
from hier.config.compose import compose
from hier.config.params import HEAD, by_file, left_over, place, raw, select
from hier.errors import ConfigError, MissingInputError

CONF = Path(__file__).parents[2] / "conf"
PARAMS = {
    "suite": "x",
    "datasets": {"b": {"ks": [1]}},
    "runs": {"a-b-s0": {"dataset": "b", "seed": 3, "head": {"dim": None}}},
}
OWN = "params/runs/a-b-s0.yaml"

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
    ("key", "shown"),
    [
        ("nope", "params.yaml: nope"),
        ("runs.nope", "params/runs/nope.yaml"),
        ("runs.a-b-s0.seed.x", f"{OWN}: seed.x"),
        ("runs.a-b-s0.head.dim.x", f"{OWN}: head.dim.x"),
        ("", "params.yaml"),
        ("suite.x", "params.yaml: suite.x"),
    ],
)
def test_a_key_that_does_not_exist_is_one_line(key, shown):
    with pytest.raises(ConfigError) as caught:
        select(PARAMS, key)
    assert str(caught.value) == f"{shown}: is missing; write it anew with: hier compose"


def test_a_value_that_is_none_is_found():
    assert select(PARAMS, "runs.a-b-s0.head.dim") is None


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "params.yaml"
    write_settings(PARAMS, tmp_path)
    assert raw(path) == PARAMS
    write_settings(PARAMS | {"suite": "y"}, tmp_path)
    assert raw(path)["suite"] == "y"  # read anew, since its text is another


def test_one_run_is_read_with_its_dataset_alone(tmp_path):
    runs = {f"a-{d}-s{i}": {"dataset": d, "seed": i} for d in "bc" for i in range(2)}
    params = {"suite": "x", "datasets": {"b": {"ks": [1]}, "c": {"ks": [2]}}, "runs": runs}
    write_settings(params, tmp_path)
    path = tmp_path / "params.yaml"
    one = raw(path, only="a-c-s1")
    assert one["runs"] == {"a-c-s1": runs["a-c-s1"]}
    assert one["datasets"] == {"c": {"ks": [2]}}
    assert raw(path, only="b") == params | {"runs": {}, "datasets": {"b": {"ks": [1]}}}
    assert raw(path, only="nope") == raw(path) == params  # so that the valid names can be told


def test_each_run_and_dataset_has_a_file_of_its_own(tmp_path):
    write_settings(PARAMS, tmp_path)
    read = {
        path.relative_to(tmp_path).as_posix(): yaml.safe_load(path.read_text())
        for path in tmp_path.rglob("*.yaml")
    }
    assert read == {
        "params.yaml": {"suite": "x", "datasets": ["b"], "runs": {"a-b-s0": "b"}},
        "params/datasets/b.yaml": {"ks": [1]},
        OWN: {"dataset": "b", "seed": 3, "head": {"dim": None}},
    }


def test_files_of_another_suite_are_left_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_settings(PARAMS)
    assert left_over(PARAMS) == []
    other = PARAMS | {"runs": {"c-b-s0": {"dataset": "b"}}}
    write_settings(other)
    assert list(map(str, left_over(other))) == [OWN]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("suite", ("params.yaml", "suite")),
        ("runs", ("params.yaml", "runs")),
        ("runs.a-b-s0.head.dim", (OWN, "head.dim")),
        ("datasets.b.ks", ("params/datasets/b.yaml", "ks")),
    ],
)
def test_where_a_key_stands(key, found):
    path, inner = place(key)
    assert (str(path), inner) == found


def test_values_by_file_are_those_that_the_files_hold(tmp_path):
    """Against the files themselves, whose keys DVC enters into its lock."""
    write_settings(PARAMS, tmp_path)
    keys = ("suite", "datasets.b.ks", "runs.a-b-s0.seed", "runs.a-b-s0.head.dim")
    for key in keys:
        for file, settings in by_file({key: select(PARAMS, key)}).items():
            held = yaml.safe_load((tmp_path / file).read_text())
            for name, value in settings.items():
                assert select(held, name) == value
    assert by_file({"runs.a-b-s0.seed": 3, "runs.a-b-s0.head.dim": None, "suite": "x"}) == {
        OWN: {"seed": 3, "head.dim": None},
        "params.yaml": {"suite": "x"},
    }


def test_a_folder_without_it_names_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError) as caught:
        raw()
    assert str(caught.value) == "params.yaml is missing; make it with: hier compose"


def test_what_a_composition_renders_is_read_back_as_its_plain_data(tmp_path):
    suite = compose(["suite=smoke", "methods=[untrained,hier]"], CONF)
    write_settings(suite.model_dump(), tmp_path)
    assert raw(tmp_path / "params.yaml") == suite.model_dump()


@pytest.mark.parametrize(
    ("given", "value"),
    [("1e-06", 1e-06), ("1E5", 1e5), ("0.25", 0.25), ("7", 7), ("null", None), ("true", True)],
)
def test_what_dvc_sets_is_read_as_it_was_given(tmp_path, given, value):
    """DVC's own code changes a file that was composed, as `dvc exp run -S` does."""
    from dvc.utils.hydra import apply_overrides

    suite = compose(["suite=smoke", "methods=[hier]"], CONF)
    write_settings(suite.model_dump(), tmp_path)
    [run] = suite.runs
    own = tmp_path / f"params/runs/{run}.yaml"
    apply_overrides(own, [f"regularizer.weight={given}"])
    expected = suite.model_dump()
    expected["runs"][run]["regularizer"]["weight"] = value
    assert json.dumps(raw(tmp_path / "params.yaml")) == json.dumps(expected)
    assert own.read_text().startswith(HEAD)  # so a later composition knows it for its own


def test_a_process_that_runs_many_jobs_parses_it_once(tmp_path):
    suite = compose(["suite=smoke", "methods=[hier]", f"seeds={list(range(100))}"], CONF)
    path = tmp_path / "params.yaml"
    write_settings(suite.model_dump(), tmp_path)
    first = raw(path)
    start = time.process_time()
    for _ in range(20):
        assert raw(path) == first
    assert time.process_time() - start < 0.5
