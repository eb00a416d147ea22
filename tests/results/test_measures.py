"""expected/<suite>.csv and metrics.json as people and programs leave them: right figures, or one line."""

import json
import math
from pathlib import Path

import pytest

from hier.config.settings import Settings
from hier.errors import DamagedInputError
from hier.results.expected import COLUMNS, Value, read_metrics, references, values_of
from hier.results.measures import values

HEAD = ",".join(COLUMNS) + "\n"
ROW = "r-s0,R@1,50.5,5,51.25,0.5,aa,,bb,,\n"
SETTINGS = Settings({"tiny": ["r-s0"]}, {"d": {"ks": [1]}}, {"r-s0": {"dataset": "d"}})
METRICS = Path("runs/r-s0/metrics.json")
WIDTH = 4.6041 * 0.5 * 1.2**0.5  # t of four degrees of freedom, sd, √(1 + 1/5)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (Path("expected/tiny.csv"), METRICS):
        path.parent.mkdir(parents=True)
    METRICS.write_text(json.dumps({"recall": {"1": 0.25}, "map_at_r": 0.125}))


def reference(content):
    Path("expected/tiny.csv").write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_reference_is_read():
    reference(HEAD + ROW)
    assert references("tiny") == [
        {
            "run": "r-s0", "measure": "R@1", "expected": 50.5, "n": 5, "mean": 51.25, "sd": 0.5,
            "tolerance": pytest.approx(WIDTH, abs=1e-4), "metrics_sha256": "aa", "settings_sha256": "bb",
            "metrics_md5": None, "artifacts": None, "environment": None,
        }
    ]  # fmt: skip
    first, second = values_of("r-s0", SETTINGS, {"sha256": "aa"})
    assert first == Value("r-s0", "R@1", 25.0, 50.5, 51.25, pytest.approx(WIDTH, abs=1e-4), True)
    assert second == Value("r-s0", "MAP@R", 12.5)


def test_there_may_be_no_reference():
    assert references("tiny") == []


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + (HEAD + ROW).encode(),
        (HEAD + ROW).replace("\n", "\r\n"),
        HEAD + ROW + "\n\n",
    ],
    ids=["a byte order mark", "the line ends of Windows", "blank lines"],
)
def test_what_editors_do_to_a_table_changes_nothing(content):
    reference(content)
    assert [row["expected"] for row in references("tiny")] == [50.5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it has no column run"),
        (HEAD.replace("run,", "runn,") + ROW, "it has no column run"),
        ("run,measure,expected,tolerance\nr-s0,R@1,50.5,5\n", "it has no column n"),  # of an older version
        (HEAD.replace(",settings_sha256", "") + ROW.replace(",bb", ""), "it has no column settings_sha256"),
        ((HEAD + ROW).replace(",", ";"), "it has no column run"),
        (HEAD + ROW.replace("50.5", "high"), "line 2: expected is 'high', which is no number"),
        (HEAD + ROW.replace("50.5", "50,5"), "line 2 has not as many fields as the first line"),
        (HEAD + ROW.replace("50.5", '"50,5"'), "line 2: expected is '50,5', which is no number"),
        (HEAD + ROW.replace("50.5", ""), "line 2: expected is '', which is no number"),
        (HEAD + ROW.replace("50.5", "nan"), "line 2: expected is 'nan', which is no number"),
        (HEAD + ROW.replace(",0.5,", ",inf,"), "line 2: sd is 'inf', which is no number from 0 to 100"),
        (HEAD + ROW.replace(",0.5,", ",-1,"), "line 2: sd is '-1', which is no number from 0 to 100"),
        (HEAD + ROW.replace(",5,", ",0,"), "line 2: n is '0', which is no number of seeds"),
        (HEAD + ROW.replace(",5,", ",2.5,"), "line 2: n is '2.5', which is no number of seeds"),
        (HEAD + ROW.replace(",5,", ",,"), "line 2: n is '', which is no number of seeds"),
        (HEAD + ROW.replace(",5,", f",{'9' * 400},"), "line 2: n is '9999"),
        (HEAD + ROW.replace("50.5", "250"), "line 2: expected is '250', which is no number from 0 to 100"),
        (HEAD + ROW.replace(",0.5,", ",,"), "line 2: sd is '', which is no number from 0 to 100"),
        (HEAD + ROW.replace(",5,51.25,", ",1,50.5,"), "line 2: of one seed the mean is its value"),
        (HEAD + ROW.replace(",5,51.25,0.5,", ",1,51.25,,"), "line 2: of one seed the mean is its value"),
        (
            HEAD + ROW.replace("bb,,", "bb,a:b:c,"),
            "line 2: artifacts is 'a:b:c', which is no list of name:hash",
        ),
        (HEAD + ROW.replace("bb,,", "bb,foo,"), "line 2: artifacts is 'foo', which is no list of name:hash"),
        (
            HEAD + ROW + ROW.replace("R@1", "R@2").replace("aa", "ab"),
            "line 3: r-s0 has another metrics_sha256 than before",
        ),
        (HEAD + "r-s0,R@1\n", "line 2 has not as many fields as the first line"),
        (HEAD + ROW + ROW.replace("50.5", "60"), "line 3: r-s0 R@1 occurs twice"),
        (HEAD + '"' + ROW, "unexpected end of data"),
        (HEAD + ROW[:-1] + "x" * 200_000 + "\n", "field larger than field limit (131072)"),
        ((HEAD + ROW).encode("utf-16"), "'utf-8' codec can't decode byte 0xff in position 0"),
        (bytes(range(256)), "'utf-8' codec can't decode byte 0x80 in position 128"),
    ],
)
def test_a_malformed_reference_is_one_line(content, reason):
    reference(content)
    with pytest.raises(DamagedInputError) as caught:
        values_of("r-s0", SETTINGS, {})
    said = str(caught.value)
    assert said.startswith(f"expected/tiny.csv is damaged ({reason}")
    assert said.endswith("make it anew with: git checkout expected/tiny.csv")
    assert "\n" not in said


def test_a_folder_is_no_reference():
    Path("expected/tiny.csv").mkdir()
    with pytest.raises(DamagedInputError, match=r"expected/tiny\.csv is damaged \(it is no regular file\)"):
        references("tiny")


@pytest.mark.parametrize("share", [math.nan, math.inf, -0.5, 1.5, 50, "0.5", None, True, [0.5]])
def test_what_is_no_share_is_no_figure(share):
    for metrics in (
        {"recall": {"1": share}, "map_at_r": 0.5},
        {"recall": {"1": 0.5}, "map_at_r": share},
        {"recall": {"1": 0.5}, "map_at_r": 0.5, "superclass_recall": {"1": share}},
    ):
        with pytest.raises(ValueError, match="which is no number from 0 to 1"):
            values(metrics)
        METRICS.write_text(json.dumps(metrics))
        with pytest.raises(DamagedInputError, match="make it anew with: hier evaluate r-s0"):
            read_metrics(METRICS)
        assert [value.value for value in values_of("r-s0", SETTINGS, {})] == [None, None]


@pytest.mark.parametrize(
    "text", ["[]", "null", "NaN", "5", "[" * 100_000, '{"recall": [1], "map_at_r": 0.5}', ""]
)
def test_what_holds_no_figures_has_none(text):
    METRICS.write_text(text)
    assert [value.value for value in values_of("r-s0", SETTINGS, {})] == [None, None]
    with pytest.raises(DamagedInputError) as caught:
        read_metrics(METRICS)
    assert "object" not in str(caught.value)  # what Python calls things helps nobody
