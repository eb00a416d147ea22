"""`hier watch` as a user meets it: a table, once or again and again, of real trainings."""

import os
import pty
import re
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from fakes.nursery import HIER as HIER_ITSELF
from fakes.nursery import nursery
from hier.stages.train import write_history
from hier.watching.curves import Curve, State
from hier.watching.watch import AROUND, _table_that_fits, blocks, table_of
from test_cli import COMMAND, ENVIRONMENT, HIER, PA, call, files, one_line, workspace

HISTORY = [
    {"epoch": 1, "loss": 4.0, "metric": 3.0, "hier": 1.0, "rate": 1.0},
    {"epoch": 2, "loss": 3.0, "metric": 2.25, "hier": 0.75, "rate": 1.0, "test R@1": 0.5, "test R@2": 0.625},
    {"epoch": 3, "loss": 0.5, "metric": 0.375, "hier": 0.125, "rate": 1.0},
]
HEAD = ["run", "state", "epoch", "loss", "metric", "hier", "recall in percent", "loss by epoch"]


def cells(shown):
    """The table that was printed, row by row; a cell that was folded is put together."""
    rows = [[c.strip() for c in re.split("[│┃]", line)[1:-1]] for line in shown.splitlines() if "│" in line]
    head = [[c.strip() for c in re.split("[│┃]", line)[1:-1]] for line in shown.splitlines() if "┃" in line]
    return [*head, *rows]


# --- what is drawn -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([2.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([7.0, 0.0, 1.0, 6.0], "█▁▂▇"),
        ([4.0, 2.0, 3.0], "█▁▅"),
        ([*range(48)], "▁▁▂▂▂▃▃▃▃▄▄▄▅▅▅▆▆▆▆▇▇▇██"),  # 24 pairs
        ([1.0, 0.0] * 24, "▁" * 24),
    ],
)
def test_the_loss_as_blocks(values, line):
    assert blocks(values) == line


def test_where_a_terminal_is_low_those_that_are_trained_now_come_first():
    states = [State.TRAINED, State.NOT_BEGUN, State.TRAINING, State.STOPPED]
    curves = [Curve(state.name, 3, state, HISTORY) for state in states]

    def shown(height):
        table = _table_that_fits(curves, AROUND + height)
        return [*table.columns[0].cells], table.caption

    assert shown(4) == (["TRAINED", "NOT_BEGUN", "TRAINING", "STOPPED"], None)
    assert shown(2) == (["TRAINING", "STOPPED"], "2 more runs do not fit; name those to watch")


def test_a_table_of_runs_with_other_terms():
    one = [{"epoch": 1, "loss": 12.34567, "metric": 12.34567, "rate": 1.0}]
    table = table_of([Curve("pa", 1, State.TRAINED, one), Curve("hier", 9, State.TRAINING, HISTORY, 4)])
    assert [column.header for column in table.columns] == HEAD
    assert [[*column.cells] for column in table.columns] == [
        ["pa", "hier"],
        ["[green]trained[/]", "[cyan]training[/]"],
        ["1/1", "3/9 + 4 steps"],
        ["12.35", "0.5"],
        ["–", "0.375"],
        ["–", "0.125"],
        ["–", "test R@1 50.00, test R@2 62.50 after epoch 2"],
        ["▁", "█▆▁"],
    ]


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose dataset is prepared, with a short run and one that takes long."""
    folder = workspace(tmp_path_factory.mktemp("watch") / "made")
    overrides = (
        "suite=smoke",
        "methods=[pa,hier]",
        "protocol.test_every=1",
        "runs.*-hier-*.schedule.epochs=1000",
    )
    for line in (["compose", *overrides], ["download", "smoke"], ["prepare", "smoke"]):
        done = call(folder, *line)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "project", symlinks=True))


def history_of(folder, run, rows):
    path = folder / "runs" / run / "history.csv"
    path.parent.mkdir(parents=True)
    write_history(rows, path)


def until(found, process):
    give_up = time.monotonic() + 120
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_an_unknown_run_lists_the_valid_ones(made):
    done = call(made, "watch", PA, "smoke-nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done) == f"error: unknown run 'smoke-nope'; choose from: {PA}, {HIER}"


@pytest.mark.parametrize("arguments", [["--every", "0"], ["--every", "nan"], ["--every", "99999"]])
def test_seconds_that_cannot_be_are_refused(made, arguments):
    assert call(made, "watch", *arguments).returncode == 2


def test_runs_that_have_not_begun(made):
    before = files(made)
    for arguments in ([], ["--once"], ["--every", "1"]):
        done = call(made, "watch", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert cells(done.stdout)[1:] == [
            [PA, "not begun", "0/2", "–", "–", ""],
            [HIER, "not begun", "0/1000", "–", "–", ""],
        ]
        assert "trained" not in done.stdout
    assert files(made) == before


def test_trained_ones_are_told(project):
    history_of(project, PA, HISTORY[:2])
    done = call(project, "watch", PA)
    assert (done.returncode, done.stderr) == (0, "")
    recall = "test R@1 50.00, test R@2 62.50 after epoch 2"
    assert cells(done.stdout) == [HEAD, [PA, "trained", "2/2", "3", "2.25", "0.75", recall, "█▁"]]
    assert done.stdout.splitlines()[-1] == f"{PA} is trained"
    assert "trained" not in call(project, "watch").stdout.splitlines()[-1]
    history_of(project, HIER, HISTORY)
    assert call(project, "watch").stdout.splitlines()[-1] == "all 2 runs are trained"


def test_a_run_without_its_data_is_not_waited_for(project):
    (project / "data/smoke/no-data.txt").write_text("nowhere\n")
    assert call(project, "watch").stdout.splitlines()[-1] == "there is no run to watch"
    assert cells(call(project, "watch", PA).stdout)[1][:2] == [PA, "not begun"]


def test_a_damaged_history_is_one_line(project):
    history_of(project, PA, [])
    (project / "runs" / PA / "history.csv").write_text("epoch\n")
    done = call(project, "watch")
    assert one_line(done) == (
        f"error: runs/{PA}/history.csv is damaged (it has no column loss); make it anew with: hier train {PA}"
    )


def test_a_run_that_trains_and_one_that_is_stopped(project):
    """By the commands alone; the watched training goes on as if nobody looked."""
    environment = ENVIRONMENT | {"HIER_CHECKPOINT_MINUTES": "0"}
    process = nursery().start(HIER_ITSELF, ["train", HIER], project, environment)
    try:
        until(lambda: any(project.glob(f".checkpoints/{HIER}/*/e0002-*.pt")), process)
        during = call(project, "watch", HIER)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 143
    before = files(project)
    after = call(project, "watch", HIER)
    assert files(project) == before
    assert (during.returncode, during.stderr, after.returncode, after.stderr) == (0, "", 0, "")
    head, (run, state, epoch, *_) = cells(during.stdout)
    assert (head, run, state) == (HEAD, HIER, "training")
    assert re.fullmatch(r"[2-9]\d*/1000( \+ \d steps)?", epoch)
    _, (run, state, epoch, loss, metric, hier, recall, line) = cells(after.stdout)
    assert (run, state) == (HIER, "stopped")
    epochs = int(epoch.partition("/")[0])
    assert float(loss) == pytest.approx(float(metric) + float(hier), rel=1e-3)
    assert re.fullmatch(rf"test R@1 \d+\.\d\d, .* after epoch {epochs}", recall)
    assert len(line) == min(24, epochs)


# --- in a terminal -------------------------------------------------------------------------------


class Terminal:
    """`hier watch` in a terminal, and what it has shown."""

    def __init__(self, folder, *arguments):
        self.side, other = pty.openpty()
        environment = ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
        self.process = subprocess.Popen(
            [*COMMAND, "watch", *arguments],
            cwd=folder, env=environment, stdin=other, stdout=other, stderr=other,
        )  # fmt: skip
        os.close(other)
        self._bytes = b""

    @property
    def shown(self):
        return self._bytes.decode(errors="replace")

    def until(self, text):
        """Wait until it has shown a text, or its end."""
        while text not in self.shown:
            try:
                block = os.read(self.side, 1 << 16)
            except OSError:  # so Linux says that the other side is closed
                block = b""
            assert block, self.shown
            self._bytes += block

    def end(self):
        code = self.process.wait(60)
        os.close(self.side)
        return code


def test_it_goes_on_until_every_run_is_trained(project):
    watched = Terminal(project, PA, "--every", "1")
    watched.until("not begun")
    done = call(project, "train", PA)
    assert done.returncode == 0, done.stderr
    watched.until(f"{PA} is trained\r\n")
    assert watched.end() == 0
    written = (project / "runs" / PA / "history.csv").read_text().splitlines()
    loss = f"{float(written[2].split(',')[1]):.4g}"
    assert re.search(rf"trained.* 2/2 +│ +{re.escape(loss)} │", watched.shown)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_like_a_viewer(project, number):
    watched = Terminal(project)
    watched.until("loss by epoch")
    watched.process.send_signal(number)
    assert watched.end() == (0 if number == signal.SIGINT else 143)
    assert "Traceback" not in watched.shown
    assert "interrupted" not in watched.shown


def test_once_is_once_in_a_terminal_too(project):
    watched = Terminal(project, "--once")
    watched.until("1000")
    assert watched.end() == 0


def test_event_files_come_beside(project, tmp_path):
    """Below the folder that the user names from where he is, and only there."""
    history_of(project, PA, HISTORY[:2])
    before = files(project)
    here = project / "conf"
    done = call(here, "watch", "--tensorboard", "../../logs")
    if find_spec("tensorboard") is None:
        assert done.returncode == 1
        said = "tensorboard is not installed; install it with: pip install tensorboard"
        assert one_line(done).startswith(f"error: {said}")
        assert not (tmp_path / "logs").exists()
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert [path.name for path in (tmp_path / "logs").iterdir()] == [PA]
    assert files(project) == before
