"""`hier trace`: from a number back to its archive, whether bytes and steps hold, tree, JSON and graph."""

import json
import sys
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydot
import pytest
import yaml
from safetensors.numpy import save_file

from fakes.settings import edited_settings
from fakes.traced import FETCHED, HIER, HIER1, PA, WEIGHTS, copy_of, made_up, results
from hier.audit.lineage import trace
from hier.audit.origins import origins_of
from hier.config.settings import Settings
from hier.files.hashing import Hasher
from hier.jobs import job
from hier.ledger.record import recorded, sealed
from hier.models.description import read_description
from hier.reporting.terminal.lineage import _quoted, dot
from hier.results.expected import COLUMNS

pytestmark = [
    pytest.mark.engines,
    pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"),  # pydot's of pyparsing
]

CHAIN = [
    f"evaluate@{HIER}", "prepare@smoke", "download@smoke", f"embed@{HIER}", f"train@{HIER}",
]  # fmt: skip


def digest(path):
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return results(tmp_path_factory)


@pytest.fixture
def spoiled(project, tmp_path):
    """A copy whose files the test may change."""
    return copy_of(project, tmp_path / "project")


def traced(project, asked, *options):
    return project.run("hier", "trace", asked, *options).stdout


def as_json(project, asked):
    return json.loads(traced(project, asked, "--json"))


def step(data, name):
    return next(step for step in data["steps"] if step["job"] == name)


def states(data, path):
    """What is said of a file wherever it is spoken of."""
    files = (f for s in data["steps"] for f in (*s["inputs"], *s["outputs"]))
    return {f["state"] for f in files if f["path"] == path}


def test_a_cell_leads_back_through_every_step_and_file(project):
    data = as_json(project, f"{HIER}:R@1")
    metrics = json.loads(project.path(f"runs/{HIER}/metrics.json").read_text())
    assert [(f["measure"], f["value"]) for f in data["figures"]] == [("R@1", 100 * metrics["recall"]["1"])]
    assert sorted(s["job"] for s in data["steps"]) == sorted(CHAIN)
    assert {s["status"] for s in data["steps"]} == {"current"}
    files = [f for s in data["steps"] for f in (*s["inputs"], *s["outputs"])]
    assert {f["state"] for f in files} == {"as recorded"}
    plain = [f for f in files if project.path(f["path"]).is_file()]
    assert len({f["path"] for f in plain}) == 8
    for file in plain:
        assert file["digest"]["sha256"] == digest(project.path(file["path"])), file["path"]


def test_every_input_is_the_output_of_the_step_that_is_named(project):
    data = as_json(project, HIER)
    for reader in data["steps"]:
        for file in reader["inputs"]:
            made = [f["path"] for f in step(data, file["made_by"])["outputs"]]
            assert file["path"] in made


def test_the_archive_is_named_with_its_hash_and_where_it_comes_from(project):
    [origin] = step(as_json(project, HIER), "download@smoke")["origins"]
    archive = project.path("data/smoke/archive/smoke.tgz")
    dataset = yaml.safe_load(project.path("params/datasets/smoke.yaml").read_text())
    assert origin["name"] == "smoke.tgz"
    assert origin["sha256"] == digest(archive)
    assert origin["size"] == archive.stat().st_size
    assert origin["seed"] == dataset["generate"]["seed"]


def test_the_tree_tells_of_code_packages_machine_and_settings(project):
    text = traced(project, f"{HIER}:R@1")
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    module = digest(project.path("src/hier/stages/train.py"))
    for part in (
        f"src/hier/stages/train.py {module[:12]}",
        f"git {commit[:12]}, clean",
        f"torch {version('torch').partition('+')[0]}",
        f"Python {'.'.join(map(str, sys.version_info[:3]))}",
        "regularizer.name hier",
        "seed 0",
        digest(project.path("data/smoke/archive/smoke.tgz")),
        "drawn from seed 0",
    ):
        assert part in text, part
    assert "✗" not in text


def test_each_step_is_told_once(project):
    text = traced(project, HIER)
    for name in CHAIN:
        told = [line for line in text.splitlines() if f"✓ {name} current" in line]
        assert len(told) == 1, name


def test_changed_bytes_are_shown_where_they_lie_and_at_the_step(spoiled):
    path = f"runs/{HIER}/embeddings.safetensors"
    spoiled.path(path).write_bytes(spoiled.path(path).read_bytes() + b"x")
    data = as_json(spoiled, f"{HIER}:R@1")
    assert states(data, path) == {"other bytes"}
    assert states(data, f"runs/{HIER}/metrics.json") == {"as recorded"}
    assert step(data, f"embed@{HIER}")["status"] == "tampered"
    text = traced(spoiled, f"{HIER}:R@1")
    assert any("✗" in line and path in line and "other bytes" in line for line in text.splitlines())


def test_what_was_trained_with_other_settings_is_stale(spoiled):
    own = spoiled.path(f"params/runs/{PA}.yaml")
    run = yaml.safe_load(own.read_text())
    run["optimizer"]["lr"] *= 2
    own.write_text(yaml.safe_dump(run, sort_keys=False))
    worst = step(as_json(spoiled, PA), f"train@{PA}")
    assert (worst["status"], f"runs.{PA}.optimizer" in worst["reason"]) == ("stale", True)
    made_with = worst["params"][f"runs.{PA}.optimizer"]["lr"]
    assert made_with == run["optimizer"]["lr"] / 2
    assert step(as_json(spoiled, HIER), f"train@{HIER}")["status"] == "current"


def test_a_missing_record_names_the_command_that_makes_it(spoiled):
    spoiled.path(f"runs/{HIER}/train.record.json").unlink()
    text = traced(spoiled, HIER)
    assert f"make it with: hier train {HIER}" in text
    assert states(as_json(spoiled, HIER), f"runs/{HIER}/model.safetensors") == {
        "as recorded",  # by the record of the step that read it
        "no record",
    }


def test_missing_files_are_not_here(spoiled):
    path = f"runs/{HIER}/model.safetensors"
    spoiled.path(path).unlink()
    data = as_json(spoiled, HIER)
    assert states(data, path) == {"not here"}
    assert step(data, f"train@{HIER}")["status"] == "not run"


def test_what_was_not_run_is_said_to_be_so(spoiled):
    for path in (*spoiled.path(f"runs/{HIER}").iterdir(), spoiled.path("dvc.lock")):
        path.unlink(missing_ok=True)
    text = traced(spoiled, f"{HIER}:R@1")
    assert "R@1 not made yet" in text
    assert f"✗ train@{HIER} not run" in text


def test_a_table_gives_one_line_for_each_run_and_more_when_asked(spoiled):
    path = spoiled.path(f"runs/{PA}/metrics.json")
    path.write_text(path.read_text() + " ")
    text = traced(spoiled, "results/smoke/table.csv")
    value = 100 * json.loads(spoiled.path(f"runs/{HIER}/metrics.json").read_text())["recall"]["1"]
    assert f"✓ {HIER}: R@1 {value:.2f} (no reference run); current" in text
    assert sum(f"{run}: R@1" in text for run in (HIER, HIER1, PA)) == 3
    [bad] = [line for line in text.splitlines() if f"{PA}: R@1" in line]
    assert "✗" in bad
    assert f"tampered (evaluate@{PA}" in bad
    assert "train@" not in text
    assert f"✓ train@{HIER} current" in traced(spoiled, "results/smoke/table.csv", "--full")


@pytest.mark.parametrize(
    ("asked", "start"),
    [
        ("data/smoke/archive", "download@smoke"),
        ("data/smoke/archive/smoke.tgz", "download@smoke"),
        ("./data/smoke/images.npy", "prepare@smoke"),
        (f"runs/{HIER}/train.record.json", f"train@{HIER}"),
        (f"runs/{HIER}/metrics.json", f"evaluate@{HIER}"),
        ("results/smoke/report/index.html", "report@smoke"),
    ],
)
def test_whatever_is_made_can_be_traced(project, asked, start):
    assert as_json(project, asked)["start"] == start


def test_an_absolute_path_will_do(project):
    path = str(project.path(f"runs/{HIER}/model.safetensors"))
    assert as_json(project, path)["start"] == f"train@{HIER}"


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        (f"{HIER}:R@9", "choose from: R@1, R@2, super-class R@1, super-class R@2, MAP@R"),
        (HIER.replace("-16-", "-32-"), HIER),
        (f"runs/{HIER}/model.safetensor", f"runs/{HIER}/model.safetensors"),
    ],
)
def test_a_bad_name_lists_the_nearest(project, asked, near):
    done = project.run("hier", "trace", asked, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert near in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_one_form_at_a_time(project):
    done = project.run("hier", "trace", HIER, "--json", "--dot", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json and --dot exclude each other" in done.stderr


def test_the_graph_has_every_file_and_step(project):
    data = as_json(project, HIER)
    [graph] = pydot.graph_from_dot_data(traced(project, HIER, "--dot"))
    pairs = {(f["path"], s["job"]) for s in data["steps"] for f in s["inputs"]}
    pairs |= {(s["job"], f["path"]) for s in data["steps"] for f in s["outputs"]}
    files = {name for pair in pairs for name in pair} - {s["job"] for s in data["steps"]}
    origins = sum(len(s["origins"]) for s in data["steps"])
    named = [n for n in graph.get_nodes() if n.get_name() != "node"]
    assert len(named) == len(files) + len(data["steps"]) + origins
    edges = {(e.get_source().strip('"'), e.get_destination().strip('"')) for e in graph.get_edges()}
    assert pairs <= edges
    assert len(edges) == len(pairs) + origins


def test_the_graph_of_a_table_is_small_unless_asked(project):
    small, whole = (
        pydot.graph_from_dot_data(traced(project, "results/smoke/table.csv", "--dot", *options))[0]
        for options in ([], ["--full"])
    )
    assert len(small.get_nodes()) < len(whole.get_nodes()) / 3


def test_quotes_and_backslashes_do_not_break_the_graph():
    name = 'a "b" \\ c'
    [graph] = pydot.graph_from_dot_data(f"digraph {{ {_quoted(name)}; }}")
    [node] = graph.get_nodes()
    assert node.get_name() == '"a \\"b\\" \\\\ c"'


def test_it_loads_nothing_heavy(project):
    script = (
        "import sys; sys.path.insert(0, 'src'); sys.argv[1:] = ['trace', 'RUN:R@1']\n"
        "from hier.cli import cli\n"
        "cli(standalone_mode=False)\n"
        "print(sorted({'torch', 'pandas', 'hydra', 'dvc'} & set(sys.modules)))"
    ).replace("RUN", HIER)
    assert project.run(sys.executable, "-c", script).stdout.splitlines()[-1] == "[]"


# Below: archives that were fetched and weights, in a ledger that is made up.


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A suite whose archive has an address and whose network starts from weights."""
    return made_up(tmp_path / "project", monkeypatch)


def origin(stage):
    """The one origin of a stage, straight from the trace."""
    steps = trace(HIER, Settings.read()).steps
    [found] = steps[stage].origins
    return found


def test_a_fetched_archive_is_told_with_its_addresses_and_promise(fetched):
    found = origin("download@smoke")
    assert (found.name, found.sha256, found.kept) == ("images.tgz", FETCHED, True)
    assert found.addresses == ["https://a.test/i.tgz", "https://b.test/i"]
    assert found.promised == {"sha256": FETCHED}
    text = traced(fetched, HIER)
    assert "from https://a.test/i.tgz" in text
    assert f"promised sha256 {FETCHED}: kept" in text


def test_a_broken_promise_is_told(fetched):
    Path("data/smoke/archive/images.tgz").write_bytes(b"something else")
    found = origin("download@smoke")
    assert found.kept is False
    assert found.sha256 == sha256(b"something else").hexdigest()
    assert f"promised sha256 {FETCHED}: broken" in traced(fetched, HIER)


def test_a_manifest_is_told_by_its_name_and_hash(fetched):
    """What is kept under it follows from it, and was tested when it was read."""
    with edited_settings() as settings:
        [file] = settings.datasets["smoke"]["sources"][0]["files"]
        file |= {"sha256": None, "manifest": {"list": "cars.sha256", "sha256": FETCHED}}
    [found] = origins_of(job("download", "smoke", Settings.read()), None, Hasher())
    assert (found.promised, found.kept) == ({"manifest": f"cars.sha256 (sha256 {FETCHED})"}, None)


def test_weights_are_told_with_the_hash_in_the_models_header(fetched):
    params = Settings.read()
    assert origin(f"train@{HIER}").sha256 is None  # a made-up model has no header
    work = job("train", HIER, params)
    with recorded(work):
        save_file({"w": np.zeros(3)}, work.outputs[0], {"hier": json.dumps({"weights_sha256": WEIGHTS})})
    found = origin(f"train@{HIER}")
    assert (found.name, found.sha256, found.kept) == ("w.safetensors", WEIGHTS, True)
    assert found.addresses == ["https://w.test/w"]
    assert found.promised == {"sha256": WEIGHTS[:8]}


def test_the_header_is_read_as_it_was_written(tmp_path):
    save_file({"w": np.zeros(3)}, tmp_path / "a", {"hier": '{"x": "y"}'})
    save_file({"w": np.zeros(3)}, tmp_path / "b")
    (tmp_path / "c").write_bytes(b"\xff" * 9)
    (tmp_path / "d").write_bytes(b"")
    assert read_description(tmp_path / "a") == {"x": "y"}
    assert [read_description(tmp_path / name) for name in "bcde"] == [{}] * 4


def test_a_reference_is_told_beside_the_figure(fetched):
    metrics = Path(f"runs/{HIER}/metrics.json")
    row = f"{HIER},R@1,48.5,2,49.0,1.0,{digest(metrics)},m,s,,e\n"
    Path("expected/smoke.csv").write_text(",".join(COLUMNS) + "\n" + row)
    [figure] = trace(f"{HIER}:R@1", Settings.read()).figures
    assert (figure.value, figure.expected, figure.mean) == (50.0, 48.5, 49.0)
    assert figure.tolerance == pytest.approx(63.657 * 1.5**0.5, abs=0.001)  # t of one degree of freedom
    assert figure.same_bytes is True
    text = traced(fetched, f"{HIER}:R@1")
    said = "reference 48.50; the same bytes as the reference run's; 99 % of seeds: 49.00 ± 77.96"
    assert f"R@1 50.00 ({said})" in text


def test_a_record_that_says_little_of_the_machine_can_be_shown(fetched):
    record = Path(f"runs/{HIER}/evaluate.record.json")
    data = json.loads(record.read_text())
    for name in ("environment", "started", "seconds", "peak_memory", "seal"):
        del data[name]
    record.write_text(sealed(data))
    assert f"evaluate@{HIER}" in traced(fetched, HIER)


def test_a_broken_params_yaml_is_one_line(fetched):
    Path("params.yaml").write_text("suite: smoke\n")
    done = fetched.run("hier", "trace", HIER, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_the_graph_names_addresses(fetched):
    [graph] = pydot.graph_from_dot_data(dot(trace(HIER, Settings.read())))
    assert any("https://a.test/i.tgz" in str(n.get_label()) for n in graph.get_nodes())
