"""The plan on the terminal: every run, its cost, and how far it has come."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from hier.config.compose import compose
from hier.config.suite import filter_runs
from hier.errors import ConfigError, UnknownNameError
from hier.planning import rates
from hier.planning.plan import Hours, images_of, show, sizes, state
from hier.planning.rates import kept_file, kept_rates, key_of, machine

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def suite():
    return compose(
        [
            "suite=smoke", "methods=[untrained,pa,hier]", "runtime.device=cpu",
            "runs.*-hier-*.schedule.epochs=1500",
        ],
        CONF,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def forbidden(monkeypatch):
    """No measuring."""
    monkeypatch.setitem(sys.modules, "hier.planning.throughput", None)


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


def keep(runs, here=None, gpu=False, **changes):
    """A file of rates as `--measure` would leave it, for some runs."""
    entry = {"training": 40.0, "embedding": 100.0, "device": "the CPU", "date": "2026-01-31"}
    here = machine() if here is None else here
    stored = {key_of(run, gpu, here): entry | changes for run in runs}
    kept_file().parent.mkdir(parents=True, exist_ok=True)
    kept_file().write_text(json.dumps(stored))


def made(run, *names):
    for name in names:
        path = Path("runs", run, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_every_run_with_its_cost_and_state(suite, capsys):
    made("smoke-pa-test_resnet-16-s0", "model.safetensors")
    show(suite)
    out = capsys.readouterr().out
    rows = [
        [part.strip() for part in re.split("[│┃|]", line)[1:-1]] for line in out.splitlines() if "│" in line
    ]
    # 32 training images × epochs
    common = ["test_resnet", "16", "0"]
    assert rows == [
        [
            "smoke-untrained-test_resnet-16-s0",
            "smoke",
            "untrained",
            *common,
            "0",
            "0",
            "–",
            "not run",
        ],
        ["smoke-pa-test_resnet-16-s0", "smoke", "pa", *common, "2", "64", "–", "trained"],
        [
            "smoke-hier-test_resnet-16-s0",
            "smoke",
            "hier",
            *common,
            "1500",
            "48,000",
            "–",
            "not run",
        ],
    ]
    assert "suite smoke: 3 runs" in out
    assert "48,064 training images in all" in out


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([], "not run"),
        (["history.csv"], "not run"),
        (["model.safetensors"], "trained"),
        (["model.safetensors", "embeddings.safetensors"], "embedded"),
        (["model.safetensors", "embeddings.safetensors", "metrics.json"], "embedded"),
        (["embeddings.safetensors", "metrics.json", "evaluate.record.json"], "evaluated"),
        (["metrics.json"], "committed, not here"),  # git brought it
    ],
)
def test_how_far_a_run_has_come(files, word):
    made("some-run", *files)
    made("some-other-run", "metrics.json")
    assert state("some-run") == word


def test_images_trained_on_and_looked_at():
    suite = compose(["suite=smoke", "methods=[pa]", "sampler.batch_size=10", "protocol.test_every=2",
                     "schedule.epochs=5"], CONF)  # fmt: skip
    (run,) = suite.runs.values()
    # 32 images are 3 batches of 10; looks after epochs 2, 4 and 5, and the final embedding
    assert images_of(run, suite.dataset("smoke")) == (150, 4 * 32)


def test_of_a_subset_only_its_images_count():
    overrides = ["methods=[pa]", "dataset.subset={classes:4,images:3}", "schedule.epochs=5"]
    suite = compose(["suite=smoke", *overrides], CONF)
    (run,) = suite.runs.values()
    # 12 images are 1 batch of 8
    assert images_of(run, suite.dataset("smoke")) == (40, 12)


def test_hours_from_a_given_rate(suite, capsys):
    # 48,064 training images at 10/s, and 3 final embeddings of 32 images at three times that
    show(suite, images_per_second=10.0)
    hours = (48_064 / 10 + 3 * 32 / 30) / 3600
    assert f"{hours:.2f} hours on one device at 10 images/s" in " ".join(capsys.readouterr().out.split())


# --- rates that are measured, and kept -----------------------------------------------------------


def test_a_measured_rate_is_said_with_its_backbone_and_kept(suite, capsys, monkeypatch):
    show(suite, measured=True)
    measured = re.search(
        r"(\d\S+) hours on this machine, as measured on \S+ on the CPU "
        r"\(images/s in training: test_resnet 32 px ([\d.,]+)\) run them",
        said(capsys),
    )
    assert measured
    # One network for three runs, one of which is not trained.
    entry, other = sorted(json.loads(kept_file().read_text()).values(), key=lambda e: not e["training"])
    assert other["training"] is None
    assert float(measured[2].replace(",", "")) == pytest.approx(entry["training"], rel=0.01)

    monkeypatch.setitem(sys.modules, "hier.planning.throughput", None)
    show(suite)
    out = said(capsys)
    assert f"{measured[1]} hours on this machine, as measured on {entry['date']} on the CPU" in out
    assert "; --measure measures anew" in out


def test_a_run_that_is_not_trained_needs_no_rate_of_training(suite, capsys, monkeypatch):
    def never(*_):
        raise AssertionError("a training step was timed")

    monkeypatch.setattr("hier.planning.throughput.Step.__call__", never)
    show(filter_runs(suite, method=("untrained",)), measured=True)
    assert re.search(r" hours on this machine, as measured on \S+ on the CPU run them", said(capsys))
    show(filter_runs(suite, method=("untrained",)))
    assert " hours on this machine, as measured on " in said(capsys)
    assert "hours unknown" not in said(capsys)
    with pytest.raises(AssertionError, match="a training step was timed"):
        show(suite, measured=True)


def test_the_command_that_runs_what_is_shown(suite, capsys):
    show(suite)
    assert said(capsys).endswith("run them with: snakemake --cores all")
    command = f"hier compose suite=smoke 'methods=[pa,hier]' {'x' * 200} --dataset=smoke"
    show(suite, compose=command)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"run them with: {command} && snakemake --cores all"


def test_hours_from_kept_rates(suite, capsys, forbidden):
    keep(suite.runs.values())
    show(suite)
    hours = (48_064 / 40 + 3 * 32 / 100) / 3600
    assert (
        f"{hours:.2f} hours on this machine, as measured on 2026-01-31 on the CPU (images/s in "
        "training: test_resnet 32 px 40); --measure measures anew"
    ) in said(capsys)


def test_a_given_rate_goes_before_kept_ones(suite, capsys, forbidden):
    keep(suite.runs.values())
    show(suite, images_per_second=10.0)
    assert "hours on one device at 10 images/s" in said(capsys)


def test_on_a_gpu_the_objective_is_part_of_what_was_measured(suite, monkeypatch, capsys, forbidden):
    monkeypatch.setattr(rates, "gpus", lambda: ["NVIDIA H100"])
    untrained, pa, hier = suite.runs.values()
    keep([hier], gpu=True, device="NVIDIA H100")
    assert list(kept_rates([pa, hier])) == [hier.name]
    show(suite)
    assert "hours unknown" in said(capsys)
    keep([untrained, pa, hier], gpu=True, device="NVIDIA H100")
    assert len(json.loads(kept_file().read_text())) == 3
    show(suite)
    assert "as measured on 2026-01-31 on NVIDIA H100 (" in said(capsys)


@pytest.mark.parametrize(
    "changed",
    [
        {"augmentation": {"size": 40}},
        {"runtime": {"threads": 3}},
        {"runtime": {"precision": "bfloat16"}},
        {"backbone": {"timm": "test_vit"}},
    ],
)
def test_rates_of_other_settings_are_not_used(suite, changed, forbidden):
    run = suite.run("smoke-pa-test_resnet-16-s0")
    keep([run])
    other = run
    for group, values in changed.items():
        other = run.model_copy(update={group: getattr(run, group).model_copy(update=values)})
    assert list(kept_rates([run])) == [run.name]
    assert kept_rates([other]) == {}


def test_rates_of_another_machine_or_torch_are_not_used(suite, capsys, monkeypatch, forbidden):
    monkeypatch.setattr(rates, "gpus", list)
    keep(suite.runs.values(), here="Some CPU × 64, torch 2.11.0")
    show(suite)
    assert "hours unknown: give --images-per-second N, or --measure this machine (takes about 8 s)" in said(
        capsys
    )
    assert Hours(suite).of(suite.run("smoke-pa-test_resnet-16-s0")) is None
    here = machine()
    monkeypatch.setattr(rates, "gpus", lambda: ["NVIDIA H100"])
    assert machine() != here


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "\0\xff", '{"a": 1}', '{"a": {"training": 1.0}}'],
)
def test_a_broken_file_is_ignored_and_written_anew(suite, capsys, text):
    kept_file().parent.mkdir(parents=True)
    kept_file().write_bytes(text.encode("latin-1"))
    show(suite)
    assert "hours unknown" in said(capsys)
    if text == "{":
        show(filter_runs(suite, method=("pa",)), measured=True)
        assert len(json.loads(kept_file().read_text())) == 1


def test_rates_that_cannot_be_are_ignored(suite, capsys):
    for changes in ({"training": 0.0}, {"embedding": -1.0}, {"training": "fast"}, {"date": "now"}):
        keep(suite.runs.values(), **changes)
        assert kept_rates(suite.runs.values()) == {}


def test_a_cache_folder_that_cannot_be_written_stops_nothing(suite, capsys, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    show(filter_runs(suite, method=("pa",)), measured=True)
    assert "as measured" in said(capsys)


def test_gpus_by_the_drivers_files(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "NVIDIA", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rates.gpus() == []
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0/information").write_text("Model: \t\t NVIDIA H100\nIRQ: 7\n")
    assert rates.gpus() == ["NVIDIA H100"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert rates.gpus() == []


def test_gpus_by_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "NVIDIA", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho NVIDIA A100\necho NVIDIA A100\n")
    tool.chmod(0o755)
    assert rates.gpus() == ["NVIDIA A100", "NVIDIA A100"]
    tool.write_text("#!/bin/sh\necho no driver; exit 9\n")
    assert rates.gpus() == []


def test_kept_rates_are_looked_up_without_torch():
    code = (
        "import sys; import hier.planning.plan as plan; from hier.planning.rates import *; "
        "machine(); kept_rates([]); "
        "print([m for m in ('torch', 'timm', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", ["pa", "hier"])
def test_a_whole_step_is_timed(suite, name, precision):
    from hier.planning.throughput import measure

    run = suite.run(f"smoke-{name}-test_resnet-16-s0")
    runtime = run.runtime.model_copy(update={"precision": precision})
    found = measure(run.model_copy(update={"runtime": runtime}), run.sampler.batch_size, whole=True)
    assert found.training > 0
    assert found.embedding > 0
    assert found.device == "the CPU"


def test_what_is_timed_has_a_card_to_itself(suite, monkeypatch):
    """Beside another job the rates would be wrong, and kept."""
    from hier.planning import throughput

    took = []

    @contextmanager
    def acquire_gpus(runtime, name):
        took.append((runtime, name))
        yield
        took.append("gave back")

    run = suite.run("smoke-pa-test_resnet-16-s0")
    monkeypatch.setattr(throughput, "acquire_gpus", acquire_gpus)
    monkeypatch.setattr(throughput, "_measure", lambda *_: took.append("measured"))
    throughput.measure(run, 2, whole=False)
    assert took == [
        (run.runtime, f"hier plan --measure, {run.name}"), "measured", "gave back"
    ]  # fmt: skip


def test_a_gpu_that_is_asked_for_and_not_there(suite, monkeypatch):
    from hier.planning.throughput import measured_rates

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = suite.run("smoke-pa-test_resnet-16-s0")
    wants = run.model_copy(update={"runtime": run.runtime.model_copy(update={"device": "cuda"})})
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        measured_rates([wants])


# --- sizes, and some of the runs -----------------------------------------------------------------


def test_sizes_of_a_download():
    suite = compose(["suite=table1", "methods=[pretrained]"], CONF)
    assert sizes(suite.dataset("cub")) == "11,788 images, 1.15 GB to download, at most 12.4 GB prepared"
    assert "1.96 GB" in sizes(suite.dataset("cars"))  # its first source states no sizes, its second does
    assert "unknown size" in sizes(suite.dataset("inshop"))
    exact = suite.dataset("cub").model_copy(update={"store_size": "exact"})
    assert sizes(exact).endswith("1.15 GB to download, three bytes a pixel prepared")


def test_some_of_a_suites_runs(suite):
    kept = filter_runs(suite, method=("pa", "hier"), backbone=("test_resnet",), dataset=())
    assert [run.method for run in kept.runs.values()] == ["pa", "hier"]
    assert filter_runs(suite) == suite
    with pytest.raises(
        UnknownNameError,
        match="unknown method of suite smoke: 'ms'; choose from: untrained, pa, hier",
    ):
        filter_runs(suite, method=("ms",))
    table1 = compose(["suite=table1", "methods=[pretrained]"], CONF)
    assert list(filter_runs(table1, dataset=("sop",)).datasets) == ["sop"]
    with pytest.raises(ConfigError, match="no run of that"):
        filter_runs(suite.model_copy(update={"runs": {}}))
