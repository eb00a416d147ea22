"""YAML as DVC writes and reads it, held against DVC's own serializer, PyYAML and Hydra's reader."""

import ast
import json
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml, loads_yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf._utils import get_yaml_loader

from hier import yaml12

ROOT = Path(__file__).parents[1]
OTHERS = [
    ["on", "off", "yes", "No", "y", "n", "~", "null", "", "=", "<<"],
    ["1:30", "017", "0o17", "0x1f", "0b1", "1_000", "-_", "2020-01-01"],
    ["1e5", "1e-06", "1E5", "1e+3", ".5", "5.", ".5e3", ".5e+3", "12345e678", ".inf", ".NaN"],
    ["a: b", "a #b", " a", "a ", "a\n", "a\nb", "\t", "\x7f", "\u2028", "\ufeff", "é", "😀"],
]
words = (
    st.text("abefinostyxzON0123456789:.-+_~# =<", max_size=6)
    | st.text(max_size=6)
    | st.sampled_from([word for words in OTHERS for word in words])
)
numbers = (
    st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([1e-08, 1e-06, 1e16, 1e22, 5e-324, 0.1, -0.0, 8, 1.0])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def same(one, other):
    return json.dumps(one) == json.dumps(other)  # 1, 1.0 and True are not the same


@settings(max_examples=300, deadline=None)
@given(values)
def test_what_dvc_writes_is_read_as_it_was_meant(value):
    text = dumps_yaml({"value": value})
    try:
        meant = same(loads_yaml(text), {"value": value})
    except Exception:
        meant = False
    if meant:  # DVC itself loses a few control characters
        assert same(yaml12.load(text), {"value": value})


@settings(max_examples=300, deadline=None)
@given(values)
def test_what_is_written_everyone_reads_as_it_was_meant(value):
    text = yaml12.dump({"value": value})
    for read in (
        yaml12.load,
        loads_yaml,  # DVC: YAML 1.2
        yaml.safe_load,  # Snakemake: YAML 1.1
        lambda text: yaml.load(text, get_yaml_loader()),  # Hydra: 1.1 with 1e-06
    ):
        assert same(read(text), {"value": value})


CORE = [
    ("1e-06", 1e-06), ("1E5", 1e5), ("1e+3", 1e3), ("1e5", 1e5), ("-1.5E+3", -1500.0), (".5", 0.5),
    ("5.", 5.0), ("+5.5", 5.5), ("1.0", 1.0), (".inf", float("inf")), ("-.INF", float("-inf")),
    ("12", 12), ("-7", -7), ("+7", 7), ("010", 10), ("08", 8), ("0o10", 8), ("0x1F", 31),
    ("true", True), ("False", False), ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"),
    ("y", "y"), ("n", "n"), ("Yes", "Yes"), ("tRUE", "tRUE"), ("1:30", "1:30"), ("1:30.5", "1:30.5"),
    ("~", None), ("null", None), ("NULL", None), ("", None), ("'1e-06'", "1e-06"), ("'~'", "~"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CORE)
def test_scalars_of_yaml_1_2_as_dvc_reads_them_too(text, value):
    assert same(yaml12.load(f"a: {text}"), {"a": value})
    assert same(loads_yaml(f"a: {text}"), {"a": value})


@pytest.mark.parametrize("text", ["1_000", "0b11", "2020-01-01", "2020-01-01 10:00:00", "=", "-_"])
def test_what_only_yaml_1_1_and_dvc_take_for_more_is_text(text):
    assert yaml12.load(f"a: {text}") == {"a": text}


def test_nan():
    assert str(yaml12.load("[.nan, .NaN, .NAN]")) == "[nan, nan, nan]"


def test_a_merge_key_is_none_in_yaml_1_2():
    assert yaml12.load("a: &a {b: 1}\nc: {<<: *a}") == {"a": {"b": 1}, "c": {"<<": {"b": 1}}}


def laughs(levels, key=""):
    """A few lines whose aliases come to ten to the power of `levels` values."""
    lines = [f"a0: &a0 {{{key or 'x'}: 1}}\n"]
    for level in range(1, levels):
        all_ten = ", ".join([f"*a{level - 1}"] * 10)
        inner = f"{{<<: [{all_ten}]}}" if key else f"[{all_ten}]"
        lines.append(f"a{level}: &a{level} {inner}\n")
    return "".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "found the key 'a' a second time"),
        ("a: 1\n'a': 2", "found the key 'a' a second time"),
        ("1: a", "a key that is no text"),
        ("~: a", "a key that is no text"),
        ("? [a]\n: b", "a key that is no text"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("\ta: 1", "cannot start any token"),
        ("a: \x00", "control characters are not allowed"),
        ("a: \udcff", "what is no character: '\\udcff'"),
        ("a: *b", "found undefined alias"),
        ("a: &a [*a]", "aliases come to more than 1000000 values"),
        (laughs(12), "aliases come to more than 1000000 values"),
        (laughs(12, "<<"), "aliases come to more than 1000000 values"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else 1}]\n" for i in range(9999)), "aliases"),
        ("[" * 200_000, "nested more than 100 deep"),
        ("{a: " * 200_000, "nested more than 100 deep"),
        ("- " * 200_000, "nested more than 100 deep"),
        ("\n".join(" " * i + "a:" for i in range(3000)), "nested more than 100 deep"),
        ("a: !!int x", "'x' is no int"),
        ("a: !!bool x", "'x' is no bool"),
        ("a: !!float x", "'x' is no float"),
        ("a: " + "9" * 5000, "is no int"),
        ("a: !!timestamp 2020-01-01", "could not determine a constructor"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(yaml12.Error) as caught:
        yaml12.load(text)
    assert said in str(caught.value)


def test_aliases_and_a_little_depth_are_read():
    assert yaml12.load("a: &a [1]\nb: *a") == {"a": [1], "b": [1]}
    assert yaml12.load("[" * 90 + "]" * 90) is not None
    assert yaml12.load("[]\n") == []
    assert yaml12.dump({"a": (one := [1]), "b": one}) == "a:\n- 1\nb:\n- 1\n"  # no anchors


def test_there_is_one_reader():
    """Whoever imports PyYAML could read YAML 1.1 by it."""
    found = set()
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            if any(str(name).partition(".")[0] in ("yaml", "ruamel") for name in names):
                found.add(path.name)
    assert found == {"yaml12.py"}
