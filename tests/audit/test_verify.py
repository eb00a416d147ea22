"""What `hier verify` says of results beside a reference run that another machine might have made."""

import csv
import re
from pathlib import Path

import pytest

from fakes.traced import HIER, copy_of, results
from hier.audit.verify import update_expected, verify_all
from hier.config.settings import Settings
from hier.errors import ReproductionError
from hier.reporting.terminal.verify import print_report, verdict
from hier.results.expected import artifacts

pytestmark = pytest.mark.engines
EXPECTED = Path("expected/smoke.csv")


@pytest.fixture
def suite(tmp_path_factory, tmp_path, monkeypatch):
    """The suite of a copy with results, which is the current folder, and whose reference they are."""
    monkeypatch.chdir(copy_of(results(tmp_path_factory), tmp_path / "copy").folder)
    suite = Settings.read().suite()
    update_expected(suite)
    return suite


def refer(change):
    """Let the reference run of HIER be another one; `change` gets its row."""
    with EXPECTED.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if row["run"] == HIER:
            change(row)
    with EXPECTED.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def from_another_model(row):
    row["metrics_sha256"] = "0" * 64
    for name in ("model.safetensors", "history.csv", "embeddings.safetensors", "metrics.json"):
        row["artifacts"] = re.sub(rf"{name}:\w+", f"{name}:000000000000", row["artifacts"])


def of_hier(report):
    return report.cells[report.cells["run"] == HIER]


def test_what_was_recorded_is_identical_and_the_promise_is_the_same_bytes(suite):
    report = verify_all(suite)
    assert set(report.cells["grade"]) == {"identical"}
    assert set(report.cells["promise"]) == {"the same bytes (portable kernels, same packages and threads)"}
    with EXPECTED.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["n"] for row in rows} == {"2"}
    listed = [each.split(":")[0] for each in rows[0]["artifacts"].split()]
    assert listed == [
        "archive", "index.parquet", "images.npy", "model.safetensors", "proxies.safetensors", "history.csv",
        "embeddings.safetensors", "metrics.json", "classes.csv",
    ]  # fmt: skip


def test_the_first_artifact_that_differs_is_named_where_the_same_bytes_were_promised(suite, capsys):
    refer(from_another_model)
    report = verify_all(suite)
    assert set(of_hier(report)["grade"]) == {"differs"}
    said = "the first artifact that differs is model.safetensors; the records name the same environment"
    assert set(of_hier(report)["reason"]) == {said}
    print_report(report)
    assert f"{HIER} differs: {said}\n" in capsys.readouterr().out
    with pytest.raises(ReproductionError, match="are other bytes than the reference run's") as caught:
        verdict([report])
    assert caught.value.exit_code == 1


def test_another_processor_is_named_and_is_no_excuse(suite):
    def elsewhere(row):
        from_another_model(row)
        row["environment"] = "Z80; " + row["environment"].partition("; ")[2]

    refer(elsewhere)
    (reason,) = set(of_hier(verify_all(suite))["reason"])
    assert re.fullmatch(r"the first artifact that differs is model\.safetensors; .+ here, Z80 there", reason)


def test_with_other_packages_the_spread_of_seeds_is_what_holds(suite):
    def elsewhere(row, mean="50.0", sd="0.5"):
        from_another_model(row)
        row["environment"] = re.sub(r"numpy [\w.]+", "numpy 1.0", row["environment"])
        row["mean"], row["sd"] = mean, sd

    refer(elsewhere)
    refer(lambda row: row.update(mean="0.0", sd="0.0001") if row["measure"] == "R@1" else row.update(sd="90"))
    cells = of_hier(verify_all(suite)).set_index("measure")
    assert re.fullmatch(
        r"within the spread of seeds \(numpy .+ here, numpy 1\.0 there\)", cells["promise"].iloc[0]
    )
    assert cells.loc["R@1", "grade"] == "out of tolerance"
    assert set(cells.drop(index="R@1")["grade"]) == {"within tolerance"}


@pytest.mark.parametrize("is_the_references", [True, False])
def test_a_committed_figure_whose_data_cannot_be_had_is_none_of_this_machine(suite, is_the_references):
    """Without data no job of the runs is audited, and the bytes in git alone would pass for a rebuild."""
    if not is_the_references:
        refer(lambda row: row.update(metrics_sha256="0" * 64, metrics_md5="0" * 32))
    note = Path("data/smoke/no-data.txt")
    note.write_text("no source could be had\n")
    of = of_hier(verify_all(suite))
    assert set(of["grade"]) == {"committed, not here"}
    assert set(of["by_hash"]) == {is_the_references}
    assert of["reason"].str.startswith(f"{note} says why the data could not be had").all()
    Path("runs", HIER, "metrics.json").unlink()
    assert set(of_hier(verify_all(suite))["grade"]) == {"no data"}


def test_artifacts_are_named_by_the_records_alone(suite):
    found = artifacts(HIER, Settings.read())
    Path("runs", HIER, "embeddings.safetensors").unlink()
    assert artifacts(HIER, Settings.read()) == found
    assert "views.json" not in found
