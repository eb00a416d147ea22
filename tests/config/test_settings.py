"""The settings as plain data, their dotted keys, and the files in which they stand."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fakes.settings import edited_settings, write_settings
from hier import yaml12
from hier.config.compose import compose
from hier.config.settings import HEAD, Settings, by_file, locate_key
from hier.errors import ConfigError, MissingInputError, UnknownNameError

CONF = Path(__file__).parents[2] / "conf"
SETTINGS = Settings(
    suites={"x": ["a-b-s0"]},
    datasets={"b": {"layout": "cub", "ks": [1]}},
    runs={"a-b-s0": {"dataset": "b", "seed": 3, "head": {"dim": None}}},
)
OWN = "params/runs/a-b-s0.yaml"
CHOICES = {"dataset": "b", "loss": "none", "pooling": "timm", "search": "evaluation/__init__.py"}
"""What the code of a run follows from, of one that looks at no recall while it trains."""
SMOKE = ["suite=smoke", "methods=[untrained,hier]"]
AGAIN = "write it anew with: hier compose"

names = st.text("abz_-0", min_size=1, max_size=4)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leaves(tree, above=()):
    """Each part of a tree with its path, worked out apart from the code under test."""
    yield above, tree
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield from leaves(below, (*above, name))


def held_in(folder):
    """What the YAML files of a folder hold, by their paths."""
    found = folder.rglob("*.yaml")
    return {p.relative_to(folder).as_posix(): yaml.safe_load(p.read_text()) for p in found}


# --- dotted keys ---------------------------------------------------------------------------------


@given(st.dictionaries(names, trees, min_size=1, max_size=3))
def test_every_part_is_found_at_its_dotted_key(tree):
    settings = Settings({}, {}, tree)
    for path, part in leaves(tree):
        assert settings.select(".".join(("runs", *path))) is part


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("nope", "params.yaml: nope"),
        ("runs.nope", "params/runs/nope.yaml"),
        ("runs.a-b-s0.seed.x", f"{OWN}: seed.x"),
        ("runs.a-b-s0.head.dim.x", f"{OWN}: head.dim.x"),
        ("suites.y", "params/suites/y.yaml"),
        ("", "params.yaml"),
        ("suite.x", "params.yaml: suite.x"),
    ],
)
def test_a_key_that_does_not_exist_is_one_line(key, shown):
    with pytest.raises(ConfigError) as caught:
        SETTINGS.select(key)
    assert str(caught.value) == f"{shown}: is missing; {AGAIN}"


def test_a_value_that_is_none_is_found():
    assert SETTINGS.select("runs.a-b-s0.head.dim") is None


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("suites", ("params.yaml", "suites")),
        ("runs", ("params.yaml", "runs")),
        ("suites.x.runs", ("params/suites/x.yaml", "runs")),
        ("runs.a-b-s0.head.dim", (OWN, "head.dim")),
        ("datasets.b.ks", ("params/datasets/b.yaml", "ks")),
    ],
)
def test_where_a_key_stands(key, found):
    path, inner = locate_key(key)
    assert (str(path), inner) == found


def test_values_by_file_are_those_that_the_files_hold(tmp_path):
    """Against the files themselves, whose keys DVC enters into its lock."""
    write_settings(SETTINGS, tmp_path)
    held = held_in(tmp_path)
    for key in ("datasets.b.ks", "runs.a-b-s0.seed", "runs.a-b-s0.head.dim"):
        for file, values in by_file({key: SETTINGS.select(key)}).items():
            for name, value in values.items():
                node = held[file]
                for part in name.split("."):
                    node = node[part]
                assert node == value
    assert by_file({"runs.a-b-s0.seed": 3, "runs.a-b-s0.head.dim": None, "datasets.b.ks": [1]}) == {
        OWN: {"seed": 3, "head.dim": None},
        "params/datasets/b.yaml": {"ks": [1]},
    }


# --- files ---------------------------------------------------------------------------------------


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "params.yaml"
    write_settings(SETTINGS, tmp_path)
    assert Settings.read(path) == SETTINGS
    write_settings(replace(SETTINGS, suites={"y": ["a-b-s0"]}), tmp_path)
    assert [*Settings.read(path).suites] == ["y"]  # read anew, since its text is another


def test_each_suite_run_and_dataset_has_a_file_of_its_own(tmp_path):
    write_settings(SETTINGS, tmp_path)
    assert held_in(tmp_path) == {
        "params.yaml": {
            "suites": ["x"],
            "datasets": {"b": {"layout": "cub", "shared": "split_file"}},
            "runs": {"a-b-s0": CHOICES},
        },
        "params/suites/x.yaml": {"runs": ["a-b-s0"]},
        "params/datasets/b.yaml": {"layout": "cub", "ks": [1]},
        OWN: {"dataset": "b", "seed": 3, "head": {"dim": None}},
    }


def test_a_folder_without_it_names_the_command(here):
    with pytest.raises(MissingInputError) as caught:
        Settings.read()
    assert str(caught.value) == "params.yaml is missing; make it with: hier compose"


def test_files_of_other_suites_are_left_over(here):
    write_settings(SETTINGS)
    assert SETTINGS.left_over() == []
    other = Settings({"y": ["c-d-s0"]}, {"d": {"layout": "cub"}}, {"c-d-s0": {"dataset": "d", "seed": 0}})
    write_settings(other)
    assert list(map(str, other.left_over())) == [
        "params/datasets/b.yaml", OWN, "params/suites/x.yaml"
    ]  # fmt: skip
    assert list(map(str, SETTINGS.left_over())) == [
        "params/datasets/d.yaml", "params/runs/c-d-s0.yaml", "params/suites/y.yaml"
    ]  # fmt: skip


def test_what_was_not_composed_is_not_left_over(here):
    write_settings(SETTINGS)
    Path("params/runs/mine.yaml").write_text("seed: 3\n")
    Path("params/notes.yaml").write_text(HEAD)
    Path("params/runs/folder.yaml").mkdir()
    assert SETTINGS.left_over() == []


def test_what_a_composition_renders_is_read_back_as_its_plain_data(tmp_path):
    suite = compose(SMOKE, CONF)
    write_settings(Settings.of(suite), tmp_path)
    read = Settings.read(tmp_path / "params.yaml")
    assert read == Settings.of(suite)
    assert read.suite("smoke") == read.suite() == suite


@pytest.mark.parametrize(
    ("given", "value"),
    [("1e-06", 1e-06), ("1E5", 1e5), ("0.25", 0.25), ("7", 7), ("null", None), ("true", True)],
)
def test_what_dvc_sets_is_read_as_it_was_given(tmp_path, given, value):
    """DVC's own code changes a file that was composed, as `dvc exp run -S` does."""
    from dvc.utils.hydra import apply_overrides

    suite = compose(["suite=smoke", "methods=[hier]"], CONF)
    write_settings(Settings.of(suite), tmp_path)
    [run] = suite.runs
    own = tmp_path / f"params/runs/{run}.yaml"
    apply_overrides(own, [f"regularizer.weight={given}"])
    expected = deepcopy(Settings.of(suite).runs)
    expected[run]["regularizer"]["weight"] = value
    assert json.dumps(Settings.read(tmp_path / "params.yaml").runs) == json.dumps(expected)
    assert own.read_text().startswith(HEAD)  # so a later composition knows it for its own


def test_a_process_that_runs_many_jobs_parses_it_once(tmp_path, monkeypatch):
    suite = compose(["suite=smoke", "methods=[hier]", f"seeds={list(range(100))}"], CONF)
    path = tmp_path / "params.yaml"
    write_settings(Settings.of(suite), tmp_path)
    first = Settings.read(path)
    monkeypatch.setattr(yaml12, "load", lambda text: pytest.fail("it is parsed again"))
    for _ in range(20):
        assert Settings.read(path) == first


# --- several suites ------------------------------------------------------------------------------

TWO = Settings(
    suites={"x": ["a-b-s0", "a-c-s0"], "y": ["a-c-s0", "a-c-s1"], "c": ["a-b-s0"]},
    datasets={"b": {"layout": "cub"}, "c": {"layout": "sop"}},
    runs={
        "a-b-s0": {"dataset": "b", "seed": 0},
        "a-c-s0": {"dataset": "c", "seed": 0},
        "a-c-s1": {"dataset": "c", "seed": 1},
    },
)


def of_two(*runs):
    return {name: TWO.runs[name] for name in runs}


def test_suites_stand_side_by_side_and_share_what_is_the_same(tmp_path):
    hier, both = (compose(["suite=smoke", f"methods=[{m}]"], CONF) for m in ("hier", "pa,hier"))
    both = both.model_copy(update={"suite": "other"})
    settings = Settings.of(hier, both)
    assert settings.suites == {"smoke": [*hier.runs], "other": [*both.runs]}
    assert list(settings.runs) == [*hier.runs, *(run for run in both.runs if run not in hier.runs)]
    assert list(settings.datasets) == ["smoke"]
    write_settings(settings, tmp_path)
    read = Settings.read(tmp_path / "params.yaml")
    assert read == settings
    assert (read.suite("smoke"), read.suite("other")) == (hier, both)
    assert {*read.suite().runs} == {*both.runs}


@pytest.mark.parametrize(
    ("override", "name"),
    [("optimizer.lr=0.5", "smoke-untrained-test_resnet-16-s0"), ("dataset.ks=[3]", "smoke")],
)
def test_suites_that_set_one_thing_differently_clash(override, name):
    one, other = compose(SMOKE, CONF), compose([*SMOKE, override], CONF)
    other = other.model_copy(update={"suite": "other"})
    with pytest.raises(ConfigError) as caught:
        Settings.of(one, other)
    assert str(caught.value) == (
        f"suite other has other settings of {name} than the suites before it; "
        "a workspace has one setting of each: compose them one by one"
    )


@pytest.mark.parametrize(
    ("only", "suites", "datasets", "runs"),
    [
        ("a-c-s1", {"y": ["a-c-s1"]}, ["c"], ["a-c-s1"]),
        ("a-c-s0", {"x": ["a-c-s0"], "y": ["a-c-s0"]}, ["c"], ["a-c-s0"]),
        ("y", {"x": ["a-c-s0"], "y": ["a-c-s0", "a-c-s1"]}, ["c"], ["a-c-s0", "a-c-s1"]),
        ("b", {"x": ["a-b-s0"], "c": ["a-b-s0"]}, ["b"], ["a-b-s0"]),
        ("c", TWO.suites, ["b", "c"], ["a-b-s0", "a-c-s0", "a-c-s1"]),  # a suite and a dataset
    ],
)
def test_one_name_is_read_with_what_it_needs_alone(tmp_path, only, suites, datasets, runs):
    write_settings(TWO, tmp_path)
    assert Settings.read(tmp_path / "params.yaml", only) == Settings(
        suites, {name: TWO.datasets[name] for name in datasets}, of_two(*runs)
    )


def test_what_is_not_needed_may_be_broken(tmp_path):
    write_settings(TWO, tmp_path)
    (tmp_path / OWN).write_text("[")
    path = tmp_path / "params.yaml"
    assert Settings.read(path, only="y").runs == of_two("a-c-s0", "a-c-s1")
    with pytest.raises(ConfigError, match="is not YAML"):
        Settings.read(path, only="x")


def test_all_is_read_where_there_is_no_such_name(tmp_path):
    """So that the valid names can be told."""
    write_settings(TWO, tmp_path)
    assert Settings.read(tmp_path / "params.yaml", only="nope") == TWO


def test_the_settings_of_one_suite_or_of_some_runs():
    assert TWO.of_suite("y") == Settings(
        {"y": ["a-c-s0", "a-c-s1"]}, {"c": {"layout": "sop"}}, of_two("a-c-s0", "a-c-s1")
    )
    assert TWO.of_runs(["a-b-s0"]) == Settings(
        {"x": ["a-b-s0"], "c": ["a-b-s0"]}, {"b": {"layout": "cub"}}, of_two("a-b-s0")
    )
    assert [TWO.suite_of(run) for run in TWO.runs] == ["x", "x", "y"]


def test_an_unknown_suite_lists_those_that_there_are():
    with pytest.raises(UnknownNameError, match="choose from: x, y, c"):
        TWO.suite("z")


def test_what_was_read_of_a_dataset_alone_can_be_checked(tmp_path):
    """A dataset that no suite is called by has stages of its own, which check its settings."""
    smoke = compose(["suite=smoke-table1", "methods=[pa]", "backbone=vit_small"], CONF)
    write_settings(Settings.of(smoke), tmp_path)
    read = Settings.read(tmp_path / "params.yaml", only="sop")
    assert [*read.runs] == ["sop-pa-vit_small-16-s0"]
    assert read.suite().dataset("sop") == smoke.dataset("sop")


# --- edited by hand ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("params.yaml", {"suites": ["x"]}, "params.yaml: datasets: must be a mapping of names to "
         f"choices; {AGAIN}"),
        ("params.yaml", {"suites": {"x": {}}}, f"params.yaml: suites: must be names; {AGAIN}"),
        ("params.yaml", {"suites": ["../x"]}, f"params.yaml: suites: '../x' is no name; {AGAIN}"),
        ("params.yaml", {"suites": [3]}, f"params.yaml: suites: '3' is no name; {AGAIN}"),
        ("params.yaml", {"suites": ["x"], "datasets": {"b": "cub"}},
         f"params.yaml: datasets.b: must be a mapping; {AGAIN}"),
        ("params.yaml", {"suites": ["x"], "datasets": {"b": {}}, "runs": {}},
         f"params.yaml: runs: a-b-s0 is missing; {AGAIN} suite=x"),
        ("params.yaml", {"suites": ["x"], "datasets": {"b": {}}, "runs": {"a-b-s0": {"dataset": "c"}}},
         f"{OWN} is not of dataset c, as params.yaml says; {AGAIN} suite=x"),
        ("params/suites/x.yaml", {"runs": "a-b-s0"},
         f"params/suites/x.yaml: runs: must be names; {AGAIN} suite=x"),
        ("params/suites/x.yaml", {"runs": ["a-b-s0", 3]},
         f"params/suites/x.yaml: runs: must be names; {AGAIN} suite=x"),
        ("params/suites/x.yaml", {"runs": ["a-b-s0", "nope"]},
         f"params.yaml: runs: nope is missing; {AGAIN} suite=x"),
        ("params/suites/x.yaml", ["a-b-s0"],
         f"params/suites/x.yaml is not a mapping; {AGAIN} suite=x"),
        (OWN, {"dataset": "c"}, f"{OWN} is not of dataset b, as params.yaml says; {AGAIN} suite=x"),
        (OWN, None, f"{OWN} is not a mapping; {AGAIN} suite=x"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_one_line(here, file, content, said):
    write_settings(SETTINGS)
    Path(file).write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as caught:
        Settings.read()
    assert str(caught.value) == said


def test_a_run_that_params_yaml_names_and_no_suite_has_is_read(here):
    write_settings(SETTINGS)
    spare = SETTINGS.runs["a-b-s0"] | {"seed": 4}
    with edited_settings() as settings:
        settings.runs["a-b-s1"] = spare
    read = Settings.read()
    assert read.runs["a-b-s1"] == spare
    assert read.suites == SETTINGS.suites


@pytest.mark.parametrize("file", ["params/suites/x.yaml", "params/datasets/b.yaml", OWN])
def test_a_file_that_is_gone_names_the_command(here, file):
    write_settings(SETTINGS)
    Path(file).unlink()
    with pytest.raises(MissingInputError) as caught:
        Settings.read()
    assert str(caught.value) == f"{file} is missing; make it with: hier compose suite=x"
