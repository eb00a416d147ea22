"""Grades of made-up results against made-up references, and the paper's figures beside them."""

import csv
import hashlib
import json
import math
from pathlib import Path

import pytest

from hier.config.compose import compose
from hier.config.settings import Settings
from hier.config.suite import parse
from hier.errors import DamagedInputError, MissingInputError
from hier.jobs import job
from hier.ledger.record import content_key, sealed
from hier.registry import LOSSES
from hier.results import cells as grading
from hier.results import expected, paper
from hier.results.cells import graded_cells
from hier.results.compare import read_cells
from hier.results.expected import expected_path, record_expected, settings_hash
from hier.results.grades import OF_LEDGER, Grade
from hier.results.measures import values
from hier.results.table import markdown

ROOT = Path(__file__).parents[2]
UNTRAINED, PA, HIER = (f"smoke-{m}-test_resnet-16-s0" for m in ("untrained", "pa", "hier"))
COLUMNS = [
    "run", "dataset", "method", "backbone", "dim", "seed", "choice", "measure", "value", "best_on_test",
    "expected", "mean", "tolerance", "paper", "queries", "unmatched", "left_out", "grade",
]  # fmt: skip


@pytest.fixture(scope="module")
def suite():
    return compose(["suite=smoke", "methods=[untrained,pa,hier]"], ROOT / "conf")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("expected").mkdir()
    Path("expected/paper.csv").write_bytes((ROOT / "expected/paper.csv").read_bytes())


def result(run, r1=0.5, r2=0.75, map_at_r=0.25, superclass=None, best=None):
    metrics = {"recall": {"1": r1, "2": r2}, "map_at_r": map_at_r, "queries": 32, "gallery": 32}
    if superclass is not None:
        metrics["superclass_recall"] = {"1": superclass, "2": superclass}
    if best is not None:
        metrics["best_on_test"] = {"epoch": 3, "recall": best}
    path = Path("runs", run, "metrics.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics))


def metrics_hash(run):
    return hashlib.sha256(Path("runs", run, "metrics.json").read_bytes()).hexdigest()


def without_hashes(suite):
    """The lines of expected/<suite>.csv without the hashes of the metrics files."""
    with expected_path(suite.suite).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(row.pop("metrics_sha256") and row.pop("metrics_md5") for row in rows)
    return rows


def no_data(dataset):
    path = Path("data", dataset, "no-data.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("the server says 404\n")


def edited(suite, change):
    """The suite with its plain data changed."""
    data = suite.model_dump()
    change(data)
    return parse(data, "test")


def expect(suite, *rows):
    """Write expected/<suite>.csv: rows of (run, measure, mean, standard deviation of five, metrics hash)."""
    with expected_path(suite.suite).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(expected.COLUMNS)
        for run, measure, mean, sd, digest in rows:
            settings = settings_hash(suite, suite.run(run))
            writer.writerow(
                [run, measure, mean, 1 if sd == "" else 5, mean, sd, digest, "", settings, "", ""]
            )


@pytest.fixture
def nothing_promised(monkeypatch):
    """As where the reference run was made on another kind of machine, with its own kernels."""
    monkeypatch.setattr(grading, "same_bytes_promised", lambda *of: False)


def cell(cells, run, measure):
    (row,) = cells[(cells["run"] == run) & (cells["measure"] == measure)].to_dict("records")
    return row


def test_cells_are_a_hundred_times_the_metrics(suite):
    result(UNTRAINED, 0.125, 0.5, 0.0625, superclass=0.875)
    result(PA, 1 / 3, 2 / 3, 0.1)
    result(HIER, 0.0, 1.0, 0.25)
    cells = graded_cells(suite)
    assert list(cells) == COLUMNS
    assert [(row["run"], row["measure"], row["value"]) for row in cells.to_dict("records")] == [
        (UNTRAINED, "R@1", 12.5),
        (UNTRAINED, "R@2", 50.0),
        (UNTRAINED, "super-class R@1", 87.5),
        (UNTRAINED, "super-class R@2", 87.5),
        (UNTRAINED, "MAP@R", 6.25),
        (PA, "R@1", pytest.approx(33.3333333)),
        (PA, "R@2", pytest.approx(66.6666667)),
        (PA, "MAP@R", 10.0),
        (HIER, "R@1", 0.0),
        (HIER, "R@2", 100.0),
        (HIER, "MAP@R", 25.0),
    ]
    row = cell(cells, HIER, "R@1")
    assert {key: row[key] for key in COLUMNS[:6]} == {
        "run": HIER, "dataset": "smoke", "method": "hier", "backbone": "test_resnet", "dim": 16,
        "seed": 0,
    }  # fmt: skip


def test_what_is_swept_is_a_column_at_the_end_as_the_runs_have_it():
    words = ["sweep.regularizer.weight=[0.5,1e-5]", "sweep.regularizer.triplets_per_anchor=[7]"]
    words += ["sweep.backbone.batch_norm=[train]", "sweep.regularizer.proxy_term=[false]"]
    swept = compose(["suite=smoke", "methods=[pa,hier]", *words], ROOT / "conf")
    for run in swept.runs:
        result(run)
    cells = graded_cells(swept)
    assert list(cells) == [*COLUMNS, *swept.swept]
    own = cells.drop_duplicates("run")[swept.swept].to_numpy().tolist()
    assert own == [
        [None, None, "train", None], [0.5, 7, "train", "false"], [1e-5, 7, "train", "false"],
    ]  # fmt: skip
    path = Path("table.csv")
    cells.to_csv(path, index=False, float_format="%.4f")
    ends = {line.split(",")[2]: line.split(",")[-4:] for line in path.read_text().splitlines()[1:]}
    assert [*ends.values()] == [
        ["", "", "train", ""], ["0.5", "7", "train", "false"], ["1e-05", "7", "train", "false"],
    ]  # fmt: skip
    read = read_cells(path)
    assert list(read) == list(cells)
    assert [[*row] for row in read.drop_duplicates("run")[swept.swept].fillna("").to_numpy()] == [
        *ends.values()
    ]
    assert markdown(read, "smoke") == markdown(cells, "smoke")


@pytest.mark.parametrize(
    ("unmatched", "recall", "superclass"),
    [("count_as_misses", (40, 8, 0), (40, 3, 0)), ("leave_out", (32, 0, 8), (37, 0, 3))],
)
def test_each_cell_says_of_how_many_queries_it_is(suite, unmatched, recall, superclass):
    """Of 40 queries, 8 have no match by class and 3 none by super-class."""

    def set_for(data):
        data["runs"][PA]["evaluate"]["unmatched"] = unmatched

    result(PA, superclass=0.5)
    path = Path("runs", PA, "metrics.json")
    counts = {"queries": recall[0], "queries_without_match": 8}
    counts["superclass_queries_without_match"] = 3
    path.write_text(json.dumps(json.loads(path.read_text()) | counts))
    cells = graded_cells(edited(suite, set_for))

    def found(run, measure):
        row = cell(cells, run, measure)
        return tuple(row[name] for name in ("queries", "unmatched", "left_out"))

    assert found(PA, "R@1") == found(PA, "R@2") == recall
    assert found(PA, "super-class R@1") == superclass
    assert found(PA, "MAP@R") == (32, 0, 8)  # for which it is not defined
    assert cells[cells["run"] == HIER]["queries"].isna().all()


def test_what_becomes_of_queries_without_a_match_changes_the_settings_where_it_is_set(suite):
    """At its default it is left out of the hash, so that results of before it stay those settings'."""
    before = settings_hash(suite, suite.run(PA))

    def set_for(data):
        data["runs"][PA]["evaluate"]["unmatched"] = "leave_out"

    def unset(data):
        del data["runs"][PA]["evaluate"]["unmatched"]

    assert settings_hash(edited(suite, unset), suite.run(PA)) == before
    assert settings_hash(suite, edited(suite, set_for).run(PA)) != before
    assert '"unmatched"' not in json.dumps(suite.run(PA).model_dump(exclude_defaults=True))


def test_figures_by_name():
    metrics = {"recall": {"1": 0.5, "10": 0.75}, "superclass_recall": {"1": 1.0}, "map_at_r": 0.125}
    assert values(metrics) == {"R@1": 50, "R@10": 75, "super-class R@1": 100, "MAP@R": 12.5}


def test_the_best_epoch_on_the_test_classes_stands_beside_the_recalls_alone(suite):
    result(UNTRAINED, superclass=0.5)
    result(PA, 0.5, best={"1": 0.625, "2": 0.7})
    result(HIER, superclass=0.5, best={"1": 0.25})
    cells = graded_cells(suite)
    had = cells[cells["best_on_test"].notna()][["run", "measure", "best_on_test"]]
    assert list(had.itertuples(index=False, name=None)) == [
        (PA, "R@1", 62.5),
        (PA, "R@2", pytest.approx(70)),
        (HIER, "R@1", 25.0),
    ]
    assert cell(cells, PA, "R@1")["value"] == 50.0


def test_the_best_epoch_is_no_part_of_the_reference(suite):
    result(PA)
    record_expected(suite)
    before = without_hashes(suite)
    result(PA, best={"1": 1.0, "2": 1.0})
    record_expected(suite)
    assert without_hashes(suite) == before


def test_a_run_whose_data_could_not_be_had(suite):
    result(PA)
    no_data("smoke")
    cells = graded_cells(suite)
    assert set(cells[cells["run"] == HIER]["grade"]) == {"no data"}
    assert cells[cells["run"] == HIER]["value"].isna().all()
    assert set(cells[cells["run"] == PA]["grade"]) == {"no reference"}  # made before
    assert not cells["grade"].isin(["not run", "out of tolerance"]).any()
    Path("data/smoke/no-data.txt").unlink()
    cells = graded_cells(suite)
    assert set(cells[cells["run"] == HIER]["grade"]) == {"not run"}


def test_the_data_of_another_dataset_do_not_matter(suite):
    no_data("cub")
    assert set(graded_cells(suite)["grade"]) == {"not run"}


def test_each_of_the_other_grades_that_a_figure_can_have(suite, nothing_promised, monkeypatch):
    result(UNTRAINED, 0.5)
    result(PA, 0.5)
    digest = metrics_hash(UNTRAINED)
    expect(
        suite,
        (UNTRAINED, "R@1", 50.0, 0.5, digest),
        (PA, "R@1", 52.5, 0.5, "0" * 64),
        (PA, "R@2", 70.0, 0.9, "0" * 64),
        (HIER, "R@1", 50.0, 1.0, "0" * 64),
    )
    cells = graded_cells(suite)
    grades = {
        (UNTRAINED, "R@1"): "identical",
        (PA, "R@1"): "within tolerance",  # off by 2.5, of 2.52
        (PA, "R@2"): "out of tolerance",  # off by 5, of 4.54
        (HIER, "R@1"): "not run",
        (UNTRAINED, "R@2"): "no reference",
    }
    assert {key: cell(cells, *key)["grade"] for key in grades} == grades
    assert {*grades.values(), "no data", "differs"} == set(Grade) - set(OF_LEDGER)
    row = cell(cells, PA, "R@1")
    assert (row["value"], row["mean"]) == (50.0, 52.5)
    assert row["tolerance"] == pytest.approx(4.6041 * 0.5 * 1.2**0.5, abs=1e-4)
    monkeypatch.setattr(grading, "same_bytes_promised", lambda *of: True)
    assert cell(graded_cells(suite), PA, "R@1")["grade"] == "differs"
    missing = cell(cells, HIER, "R@1")
    assert math.isnan(missing["value"])
    assert missing["expected"] == 50.0


@pytest.mark.parametrize("side", [-1, 1])
def test_a_value_passes_where_one_further_seeds_would_lie(suite, nothing_promised, side):
    """Just inside and just outside of the interval: of five values with sd 2, 4.6041 · 2 · √1.2 = 10.087."""
    result(PA, 0.5)
    for off, grade in ((10.08, "within tolerance"), (10.09, "out of tolerance")):
        expect(suite, (PA, "R@1", 50.0 + side * off, 2.0, "0" * 64))
        assert cell(graded_cells(suite), PA, "R@1")["grade"] == grade


def test_one_seed_has_no_spread_to_hold_a_value_against(suite, nothing_promised):
    result(PA, 0.5)
    expect(suite, (PA, "R@1", 50.0, "", "0" * 64))
    assert cell(graded_cells(suite), PA, "R@1")["grade"] == "no reference"


def test_without_a_table_of_references_nothing_is_graded(suite):
    result(PA)
    cells = graded_cells(suite)
    assert set(cells[cells["run"] == PA]["grade"]) == {"no reference"}
    assert set(cells[cells["run"] != PA]["grade"]) == {"not run"}
    assert cells["expected"].isna().all()


def test_a_run_that_was_not_run_has_a_cell_for_each_of_its_figures(suite):
    cells = graded_cells(suite)
    assert list(cells["measure"])[:2] == ["R@1", "R@2"]
    assert {"R@1", "R@2", "MAP@R"} <= set(cells[cells["run"] == HIER]["measure"])
    assert set(cells["grade"]) == {"not run"}


# --- references ----------------------------------------------------------------------------------


def test_what_is_recorded_is_identical_afterwards(suite):
    result(UNTRAINED, 1 / 3, superclass=2 / 3)
    result(PA, 1 / 7)
    result(HIER, 1 / 9)
    assert record_expected(suite) == Path("expected/smoke.csv")
    cells = graded_cells(suite)
    assert set(cells["grade"]) == {"identical"}
    assert cells["expected"].tolist() == pytest.approx(cells["value"].tolist(), abs=5e-5)
    assert cells["tolerance"].isna().all()  # of one seed
    before = Path("expected/smoke.csv").read_bytes()
    record_expected(suite)
    assert Path("expected/smoke.csv").read_bytes() == before
    assert sorted(path.name for path in Path("expected").iterdir()) == ["paper.csv", "smoke.csv"]


def test_the_reference_holds_the_hash_of_the_metrics_file(suite):
    result(PA)
    record_expected(suite)
    digest = hashlib.sha256(Path("runs", PA, "metrics.json").read_bytes()).hexdigest()
    with expected_path(suite.suite).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["run"], row["metrics_sha256"]) for row in rows} == {(PA, digest)}
    assert [(row["measure"], float(row["expected"])) for row in rows] == [
        ("R@1", 50), ("R@2", 75), ("MAP@R", 25),
    ]  # fmt: skip


def test_other_bytes_with_the_same_figures_differ(suite):
    result(PA)
    record_expected(suite)
    path = Path("runs", PA, "metrics.json")
    path.write_text(path.read_text() + "\n")
    cells = graded_cells(suite)
    assert set(cells[cells["run"] == PA]["grade"]) == {"differs"}


def test_a_reference_that_contradicts_the_metrics_whose_hash_it_names_is_damaged(suite):
    result(PA, 0.5)
    expect(suite, (PA, "R@1", 99.0, 1.0, metrics_hash(PA)))
    with pytest.raises(DamagedInputError, match=r"R@1 is 99\.0, but 50\.0000 in the metrics file"):
        graded_cells(suite)


@pytest.mark.parametrize(("name", "value"), [("kernels", "native"), ("threads", 2), ("workers", 3)])
def test_how_a_machine_computes_is_for_the_promise_to_judge(suite, name, value):
    def change(data):
        data["runs"][HIER]["runtime"][name] = value

    other = edited(suite, change)
    assert settings_hash(other, other.run(HIER)) == settings_hash(suite, suite.run(HIER))


def set_path(data, path, value):
    *parents, last = path
    for key in parents:
        data = data[key]
    data[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("runs", HIER, "regularizer", "weight"), 1.0),
        (("runs", HIER, "optimizer", "lr"), 1.0),
        (("runs", HIER, "schedule", "epochs"), 3),
        (("runs", HIER, "embed", "batch_size"), 8),
        (("datasets", "smoke", "store_size"), 16),
        (("datasets", "smoke", "generate", "seed"), 1),
        (("datasets", "smoke", "exclude"), ["a.png"]),
        (("datasets", "smoke", "exif"), "upright"),
    ],
)
def test_a_run_with_other_settings_has_no_reference(suite, path, value):
    for run in (UNTRAINED, PA, HIER):
        result(run)
    record_expected(suite)
    cells = graded_cells(edited(suite, lambda data: set_path(data, path, value)))
    assert set(cells[cells["run"] == HIER]["grade"]) == {"no reference"}
    of_one_run = path[0] == "runs"
    assert set(cells[cells["run"] == PA]["grade"]) == {"identical" if of_one_run else "no reference"}


@pytest.mark.parametrize("name", ["demo", "grocery", "omniglot"])
def test_a_setting_that_is_new_disowns_no_reference(name):
    composed = compose([f"suite={name}"], ROOT / "conf")
    with (ROOT / "expected" / f"{name}.csv").open(newline="") as stream:
        said = {row["run"]: row["settings_sha256"] for row in csv.DictReader(stream)}
    assert {name: settings_hash(composed, run) for name, run in composed.runs.items()} == said


def test_where_files_come_from_is_no_setting(suite):
    result(HIER)
    record_expected(suite)
    moved = edited(suite, lambda data: data["datasets"]["smoke"].update(mirrors=["elsewhere"]))
    cells = graded_cells(moved)
    assert set(cells[cells["run"] == HIER]["grade"]) == {"identical"}


@pytest.mark.parametrize("digest", ["1234567890123456", "0000000000000001", "12e4567890123456"])
def test_a_settings_hash_that_looks_like_a_number(suite, monkeypatch, digest):
    for module in (grading, expected):
        monkeypatch.setattr(module, "settings_hash", lambda *_: digest)
    result(HIER)
    record_expected(suite)
    cells = graded_cells(suite)
    assert set(cells[cells["run"] == HIER]["grade"]) == {"identical"}


def test_without_any_result_the_references_stay_as_they_are(suite):
    result(PA)
    record_expected(suite)
    before = expected_path(suite.suite).read_bytes()
    Path("runs", PA, "metrics.json").unlink()
    with pytest.raises(MissingInputError) as caught:
        record_expected(suite)
    assert "\n" not in str(caught.value)
    assert expected_path(suite.suite).read_bytes() == before
    graded_cells(suite)  # which reads them


# --- the paper -----------------------------------------------------------------------------------


def as_of_the_paper(data):
    """The suite's HIER run as the paper's HIER of DeiT-S, D 128, on CUB."""
    run = data["runs"].pop(HIER)
    data["runs"].clear()
    run["dataset"] = "cub"
    run["head"]["dim"] = 128
    run["backbone"] |= {"name": "deit_small", "features": 384}
    data["runs"]["cub-hier-deit_small-128-s0"] = run
    data["datasets"] = {"cub": data["datasets"].pop("smoke") | {"name": "cub", "ks": [1, 2, 4, 8]}}


def test_the_papers_figure_stands_beside_ours(suite):
    ours = edited(suite, as_of_the_paper)
    (run,) = ours.runs
    path = Path("runs", run, "metrics.json")
    path.parent.mkdir(parents=True)
    recall = {"1": 0.75, "2": 0.84, "4": 0.9, "8": 0.94}
    path.write_text(json.dumps({"recall": recall, "map_at_r": 0.4}))
    cells = graded_cells(ours)
    # Table 1, HIER, DeiT-S, D 128, CUB-200-2011
    assert cell(cells, run, "R@1")["paper"] == 75.2
    assert cell(cells, run, "R@2")["paper"] == 84.2
    assert cell(cells, run, "R@4")["paper"] == 90.0
    assert math.isnan(cell(cells, run, "R@8")["paper"])
    assert math.isnan(cell(cells, run, "MAP@R")["paper"])
    assert len(cells) == 5


def test_runs_that_the_paper_does_not_have_have_no_figure(suite):
    result(HIER)
    cells = graded_cells(suite)
    assert cells["paper"].isna().all()


def test_the_papers_methods_are_those_of_its_table():
    with (ROOT / "expected/paper.csv").open(newline="") as stream:
        methods = {row["method"] for row in csv.DictReader(stream)}
    without = ("none", "pnca_hier")  # of the last, HIER's own ProxyNCA, the paper has no row
    ours = ("hier", *(name for name in LOSSES.names() if name not in without))
    assert {paper.name_of(method) for method in ours} <= methods
    assert [paper.name_of(name) for name in ("pnca", "softtriple", "xbm", "hier", "hier_ms")] == [
        "ProxyNCA++", "SoftTriple", "XBM", "HIER", "hier_ms",
    ]  # fmt: skip


def test_without_the_papers_table(suite):
    Path("expected/paper.csv").unlink()
    with pytest.raises(MissingInputError) as caught:
        graded_cells(suite)
    text = "expected/paper.csv is missing; make it with: git checkout expected/paper.csv"
    assert str(caught.value) == text


@pytest.mark.parametrize("stage", ["prepare", "train", "embed", "evaluate"])
def test_a_result_of_other_settings_counts_as_not_run(suite, stage):
    """Composed anew, the figures of the settings before must not stand under the present ones."""
    result(HIER)
    key = "smoke" if stage == "prepare" else HIER
    work = job(stage, key, Settings.of(suite))
    write_record(work, work.params)
    assert cell(graded_cells(suite), HIER, "R@1")["grade"] == "no reference"
    write_record(work, work.params | {next(iter(work.params)): "of before"})
    assert cell(graded_cells(suite), HIER, "R@1")["grade"] == "not run"
    assert math.isnan(cell(graded_cells(suite), HIER, "R@1")["value"])


@pytest.mark.parametrize("stage", ["prepare", "train", "embed", "evaluate"])
def test_a_result_on_whose_way_a_record_proves_nothing_counts_as_not_run(suite, stage):
    result(HIER)
    work = job(stage, "smoke" if stage == "prepare" else HIER, Settings.of(suite))
    write_record(work, work.params)
    work.record.write_text(work.record.read_text().replace("hier", "Hier"))
    assert cell(graded_cells(suite), HIER, "R@1")["grade"] == "not run"


def write_record(work, params):
    """A true record of a job with these parameters."""
    record = {"inputs": {}, "versioned": {}, "packages": {}, "outputs": {}, "params": params}
    record |= {"stage": work.name, "command": work.command, "key": content_key(record)}
    work.record.parent.mkdir(parents=True, exist_ok=True)
    work.record.write_text(sealed(record))


def test_what_is_recorded_names_the_metrics_file_by_both_hashes_and_the_machine(suite):
    """DVC's MD5 too, so that a figure that was not pulled is known by dvc.lock alone."""
    result(HIER)
    work = job("train", HIER, Settings.of(suite))
    write_record(work, work.params)
    record = json.loads(work.record.read_text())
    machine = {"processor": "Z80", "python": "3.11.0", "kernels": "portable", "libc": "glibc 2.36"}
    record["environment"] = {"torch": None} | machine
    record["packages"] = {"torch": "2.0", "timm": "1.0", "numpy": "2.4", "pillow": "13.0"}
    work.record.write_text(sealed(record | {"key": content_key(record)}))
    record_expected(suite)
    with expected_path(suite.suite).open(newline="") as stream:
        row = next(csv.DictReader(stream))
    content = Path("runs", HIER, "metrics.json").read_bytes()
    assert row["metrics_sha256"] == hashlib.sha256(content).hexdigest()
    assert row["metrics_md5"] == hashlib.md5(content).hexdigest()
    threads = suite.run(HIER).runtime.threads
    assert row["environment"] == (
        "Z80; portable kernels; Python 3.11.0; glibc 2.36; torch 2.0; timm 1.0; numpy 2.4; pillow 13.0; "
        f"{threads} thread(s)"
    )


def test_the_spread_is_of_all_seeds_that_were_made_of_a_setting_in_whichever_suite(suite):
    """Mean and standard deviation of 50, 56 and 59 are 55 and 4.5826; of a single one there is none."""
    more = compose(["suite=smoke", "methods=[pa]", "seeds=[1,2,3]"], ROOT / "conf")
    other = compose(["suite=smoke", "methods=[pa]", "seeds=[5]", "optimizer.lr=0.1"], ROOT / "conf")
    result(HIER, 0.25)
    result(PA, 0.5)
    for seed, r1 in ((1, 0.56), (2, 0.59), (5, 0.9)):  # the fourth was not made, the last is set otherwise
        result(PA.replace("-s0", f"-s{seed}"), r1)
    record_expected(suite, [suite, more, other])
    rows = {(row["run"], row["measure"]): row for row in expected.references(suite.suite)}
    first, alone = rows[PA, "R@1"], rows[HIER, "R@1"]
    assert (first["expected"], first["n"], first["mean"], first["sd"]) == (50.0, 3, 55.0, 4.5826)
    assert (alone["expected"], alone["n"], alone["mean"], alone["sd"]) == (25.0, 1, 25.0, None)


MADE = (
    "EPYC; {} kernels; Python 3.11.7; glibc 2.36; torch 2.13.0; timm 1.0; numpy 2.4; pillow 13; 1 thread(s)"
)


@pytest.mark.parametrize(
    ("kernels", "change", "held"),
    [
        ("portable", ("EPYC", "Xeon"), True),
        ("portable", ("Python 3.11.7", "Python 3.13.0"), True),
        ("portable", ("numpy 2.4", "numpy 2.5"), False),
        ("portable", ("torch 2.13.0", "torch 2.13.0+cu130"), False),
        ("portable", ("glibc 2.36", "glibc 2.41"), False),
        ("portable", ("1 thread(s)", "2 thread(s)"), False),
        ("portable", ("portable", "native"), False),
        ("native", ("EPYC", "EPYC"), True),
        ("native", ("EPYC", "Xeon"), False),
        ("the GPU's with driver 5", ("EPYC", "H200"), False),
    ],
)
def test_the_same_bytes_are_promised_where_nothing_that_matters_differs(kernels, change, held):
    here = MADE.format(kernels)
    there = here.replace(*change)
    promised, differs = expected.promise(here, there)
    assert promised is held
    assert bool(differs) is (here != there)


def test_without_a_word_on_the_reference_nothing_is_promised():
    assert expected.promise(MADE.format("portable"), "")[0] is False
