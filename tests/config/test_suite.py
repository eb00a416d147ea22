"""The settings: what is read from their files, and one line for whatever an edit by hand breaks."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from fakes.settings import edited_settings, write_settings
from hier.config.compose import compose
from hier.config.settings import PARAMS, Settings
from hier.config.suite import one_line
from hier.errors import ConfigError, MissingInputError, UnknownNameError

CONF = Path(__file__).parents[2] / "conf"
HIER = "smoke-hier-test_resnet-16-s0"
PA = "smoke-pa-test_resnet-16-s0"


@pytest.fixture(scope="module")
def suite():
    return compose(["suite=smoke", "methods=[pa,hier]"], CONF)


@pytest.fixture
def path(tmp_path, suite, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_settings(Settings.of(suite))
    return Path("params.yaml")


def load(path=PARAMS):
    """What is read, checked."""
    return Settings.read(path).suite()


def error_after(change):
    with edited_settings() as params:
        change(params)
    with pytest.raises(ConfigError) as caught:
        load()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_what_was_rendered_is_what_is_read(path, suite):
    assert load() == suite
    assert Settings.read() == Settings.of(suite)
    assert Settings.read().runs[HIER]["regularizer"]["weight"] == 0.5


def test_a_missing_file_names_the_command(tmp_path):
    for read in (load, Settings.read):
        with pytest.raises(MissingInputError) as caught:
            read(tmp_path / "params.yaml")
        text = f"{tmp_path}/params.yaml is missing; make it with: hier compose"
        assert str(caught.value) == text
        assert caught.value.exit_code == 1


def test_what_is_not_utf_8_is_said_in_one_line(path):
    path.write_bytes("# für\n".encode("latin-1") + path.read_bytes())
    for read in (load, Settings.read):
        with pytest.raises(ConfigError) as caught:
            read()
        assert str(caught.value) == "params.yaml is not UTF-8 text; write it anew with: hier compose"


@pytest.mark.parametrize(
    ("where", "old", "new", "near"),
    [
        ("optimizer", "lr", "lrr", "lr"),
        ("regularizer", "weight", "wieght", "weight"),
        ("schedule", "epochs", "epoch", "epochs"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(path, where, old, new, near):
    def change(data):
        data.runs[HIER][where][new] = 1

    text = error_after(change)
    key = f"params/runs/{HIER}.yaml: {where}.{new}"
    assert text.startswith(f"{key}: no such key; did you mean {near}?")


@pytest.mark.parametrize("text", ["runs: [a", "a: b: c", "\truns: {}", '"runs'])
def test_what_is_not_yaml_is_said_in_one_line(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value).startswith("params.yaml is not YAML (")
    assert str(caught.value).endswith("; write it anew with: hier compose")
    assert "line 1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "word\n", "3\n", "# only a comment\n"])
def test_what_is_not_a_mapping(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load()
    expected = "params.yaml is not a mapping; write it anew with: hier compose"
    assert str(caught.value) == expected


def test_an_unknown_key_by_hand(path):
    text = error_after(lambda data: data.runs[HIER]["optimizer"].update(momentum=0.9))
    assert text == f"params/runs/{HIER}.yaml: optimizer.momentum: no such key (given: 0.9)"


def test_an_unknown_key_of_a_tagged_group_is_named_without_the_tag(path):
    text = error_after(lambda data: data.runs[HIER]["regularizer"].update(lamda=1))
    assert text == f"params/runs/{HIER}.yaml: regularizer.lamda: no such key (given: 1)"


def test_a_missing_key(path):
    text = error_after(lambda data: data.runs[PA].pop("schedule"))
    assert text == f"params/runs/{PA}.yaml: schedule: is missing"


def test_a_number_without_a_point_is_the_same_number(path):
    """As DVC writes it; YAML 1.1 would take it for text."""
    own, before = Path(f"params/runs/{PA}.yaml"), Settings.read()
    for text in ("5e-3", "5E-3", "0.5e-2", "+.005"):
        own.write_text(re.sub(r" lr: .*", f" lr: {text}", own.read_text()))
        assert json.dumps(vars(Settings.read())) == json.dumps(vars(before))  # and so every content key
        assert load().run(PA).optimizer.lr == 0.005


@pytest.mark.parametrize(
    ("text", "said"),
    [("1_0", "'1_0'"), ("1:30", "'1:30'"), ("on", "'on'"), ("2020-01-01", "'2020-01-01'")],
)
def test_a_word_where_a_number_belongs(path, text, said):
    own = Path(f"params/runs/{PA}.yaml")
    own.write_text(re.sub(r"epochs: .*", f"epochs: {text}", own.read_text(), count=1))
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value).startswith(f"{own}: schedule.epochs: Input should be a valid integer")
    assert str(caught.value).endswith(f"(given: {said})")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"suite: smoke\nsuite: demo\n", "found the key 'suite' a second time"),
        (b"1: smoke\n", "found a key that is no text"),
        (b"suite: smoke\n---\nsuite: demo\n", "expected a single document"),
        (b"suite: a\x00b\n", "control characters are not allowed"),
        (b"suite: " + b"[" * 9999, "nested more than 100 deep"),
        (b"suite: &a [*a]\n", "aliases come to more than"),
        (b"suite: !!python/name:os.system\n", "could not determine a constructor"),
    ],
)
def test_what_is_hardly_yaml_is_said_in_one_line(path, content, said):
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value).startswith("params.yaml is not YAML (")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_utf_16_is_said_in_one_line_and_a_mark_before_utf_8_is_passed_over(path, suite):
    text = path.read_text()
    path.write_text(text, encoding="utf-16")
    with pytest.raises(ConfigError, match=r"^params.yaml is not UTF-8 text; write it anew with"):
        load()
    path.write_text(text, encoding="utf-8-sig")
    assert load() == suite


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (lambda run: run.update(seed=1), "smoke-hier-test_resnet-16-s1"),
        (lambda run: run["head"].update(dim=8), "smoke-hier-test_resnet-8-s0"),
        (lambda run: run.update(method="pa"), PA),
        (lambda run: run["backbone"].update(name="vit"), "smoke-hier-vit-16-s0"),
    ],
)
def test_a_run_whose_key_disagrees_with_its_settings(path, change, other):
    text = error_after(lambda data: change(data.runs[HIER]))
    assert text == f"params.yaml: run {HIER} has the settings of {other}"


def test_a_run_of_a_dataset_that_is_not_listed(path):
    text = error_after(lambda data: data.datasets.clear())
    assert text == f"params.yaml: run {PA} needs dataset smoke, which is not listed"


def test_a_run_of_another_dataset_than_params_yaml_says(path):
    path.write_text(path.read_text().replace("dataset: smoke", "dataset: demo", 1))
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value) == (
        f"params/runs/{PA}.yaml is not of dataset demo, as params.yaml says; "
        "write it anew with: hier compose suite=smoke"
    )


def test_a_dataset_under_another_name(path):
    def change(data):
        data.datasets["other"] = data.datasets["smoke"]

    assert error_after(change) == "params.yaml: dataset other calls itself smoke"


def test_two_levels_of_one_name(path):
    levels = ["class", "class"]
    text = error_after(lambda data: data.datasets["smoke"].update(levels=levels))
    said = "dataset smoke: levels names one twice: ['class', 'class']"
    assert text == f"params/datasets/smoke.yaml: {said}"


def test_no_runs(path):
    def change(data):
        data.runs.clear()
        data.suites["smoke"].clear()

    text = error_after(change)
    assert text.startswith("params.yaml: runs: Dictionary should have at least 1 item")


def test_a_run_of_a_suite_that_params_yaml_does_not_name(path):
    text = error_after(lambda data: data.runs.pop(PA))
    assert text == (f"params.yaml: runs: {PA} is missing; write it anew with: hier compose suite=smoke")


@pytest.mark.parametrize("runs", ["word", "{a: 3}", "[a, [b]]", "3", "[3]"])
def test_runs_that_are_no_names(path, runs):
    """As in the params.yaml of before, where each run's settings stood below its name."""
    path.write_text(f"suites: [smoke]\ndatasets: {{smoke: {{layout: cub}}}}\nruns: {runs}\n")
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value).startswith("params.yaml: runs")
    assert str(caught.value).endswith("; write it anew with: hier compose")


@pytest.mark.parametrize("name", ["../secret", "a/b", "A", ""])
def test_a_name_leads_out_of_no_folder(path, name):
    path.write_text(f"suites: [smoke]\ndatasets: {{}}\nruns: {{'{name}': {{dataset: smoke}}}}\n")
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value).startswith(f"params.yaml: runs: {name!r} is no name")


def test_a_run_without_its_file(path):
    Path(f"params/runs/{PA}.yaml").unlink()
    with pytest.raises(MissingInputError) as caught:
        load()
    text = f"params/runs/{PA}.yaml is missing; make it with: hier compose suite=smoke"
    assert str(caught.value) == text


def test_unknown_names_list_the_valid_ones(suite):
    with pytest.raises(UnknownNameError) as caught:
        suite.run("nope")
    assert str(caught.value) == f"unknown run 'nope'; choose from: {PA}, {HIER}"
    with pytest.raises(UnknownNameError) as caught:
        suite.dataset("nope")
    assert str(caught.value) == "unknown dataset 'nope'; choose from: smoke"
    assert suite.run(PA).method == "pa"
    assert suite.dataset("smoke").ks == [1, 2]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    hier: int


class Outer(BaseModel):
    inner: Inner
    many: list[int] = []


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({}, "here: inner: is missing"),
        ({"inner": {"hier": 1, "b": 2}}, "here: inner.b: no such key (given: 2)"),
        # a key that is spelt as a tag is no tag
        ({"inner": {}}, "here: inner.hier: is missing"),
        (
            {"inner": {"hier": 1}, "many": ["a", "b", "c"]},
            "here: many.0: Input should be a valid integer, unable to parse string as an integer "
            "(given: 'a'); and 2 more",
        ),
    ],
)
def test_one_line_names_the_place_the_fault_and_how_many_more(data, line):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    assert one_line(caught.value, "here") == line
