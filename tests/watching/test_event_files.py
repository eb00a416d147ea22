"""Event files for TensorBoard: each epoch once, and what another training replaced is forgotten."""

import sys

import pytest

from hier.errors import ConfigError
from hier.watching.curves import Curve, State
from hier.watching.event_files import EventFiles, MissingTensorBoardError

RUN = "smoke-pa-test_resnet-16-s0"
ROWS = [
    {"epoch": 1, "loss": 1 / 3, "metric": 0.25, "hier": 1 / 12, "rate": 1.0},
    {"epoch": 2, "loss": 0.3, "metric": 0.2, "hier": 0.1, "rate": 0.5, "test R@1": 0.125},
    {"epoch": 3, "loss": 0.2, "metric": 0.1, "hier": 0.1, "rate": 0.25},
]


def curve(rows):
    return Curve(RUN, 3, State.TRAINING, rows)


def installed():
    pytest.importorskip("tensorboard", reason="needs: pip install tensorboard")


def scalars(folder):
    """What TensorBoard shows of a run: by name, the pairs of epoch and value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / RUN), size_guidance={"scalars": 0}).Reload()
    return {n: [(e.step, e.value) for e in events.Scalars(n)] for n in events.Tags()["scalars"]}


def expected(rows):
    names = [name for name in dict.fromkeys(n for row in rows for n in row) if name != "epoch"]
    return {name: [(row["epoch"], pytest.approx(row[name])) for row in rows if name in row] for name in names}


def files(folder):
    return sorted(path.name for path in (folder / RUN).iterdir())


def test_only_epochs_that_are_new_are_added(tmp_path):
    installed()
    with EventFiles(tmp_path) as written:
        written.add(curve([]))
        assert list(tmp_path.iterdir()) == []
        written.add(curve(ROWS[:1]))
        assert scalars(tmp_path) == expected(ROWS[:1])
        for rows in (ROWS[:1], ROWS[:2], ROWS[:1], ROWS[:2]):  # the newest checkpoint may have vanished
            written.add(curve(rows))
        assert scalars(tmp_path) == expected(ROWS[:2])
    assert len(files(tmp_path)) == 1


def test_another_process_goes_on_where_one_left(tmp_path):
    installed()
    for rows in (ROWS[:2], ROWS[:2], ROWS, ROWS):
        with EventFiles(tmp_path) as written:
            written.add(curve(rows))
    assert scalars(tmp_path) == expected(ROWS)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("by_another_process", [False, True])
def test_of_a_run_that_is_trained_anew_the_old_epochs_are_forgotten(tmp_path, by_another_process):
    installed()
    anew = [ROWS[0], ROWS[1] | {"loss": 0.4}]
    with EventFiles(tmp_path) as written:
        written.add(curve(ROWS))
        if not by_another_process:
            written.add(curve(anew))
    if by_another_process:
        with EventFiles(tmp_path) as written:
            written.add(curve(anew))
    assert scalars(tmp_path) == expected(anew)


def test_an_epoch_that_was_cut_off_is_added_whole(tmp_path):
    installed()
    with EventFiles(tmp_path) as written:
        written.add(curve([ROWS[0], {"epoch": 2, "loss": 0.3}]))
    with EventFiles(tmp_path) as written:
        written.add(curve(ROWS))
    assert scalars(tmp_path) == expected(ROWS)


def test_without_tensorboard_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingTensorBoardError) as raised:
        EventFiles(tmp_path / "new")
    said = "tensorboard is not installed; install it with: pip install tensorboard"
    assert (str(raised.value), list(tmp_path.iterdir())) == (said, [])


def test_a_folder_of_that_name_is_not_taken_for_it(tmp_path, monkeypatch):
    def forget():
        return {n: sys.modules.pop(n) for n in [*sys.modules] if n.partition(".")[0] == "tensorboard"}

    (tmp_path / "tensorboard").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    known = forget()
    try:
        with pytest.raises(MissingTensorBoardError):
            EventFiles(tmp_path / "new")
    finally:
        forget()
        sys.modules.update(known)


@pytest.mark.parametrize("folder", ["runs", "runs/a", "results/demo/../demo", ".checkpoints/a"])
def test_a_folder_of_the_pipelines_own_is_refused(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    own = folder.partition("/")[0]
    with pytest.raises(ConfigError, match=rf"{folder} is in {own}/, which the pipeline makes; name another"):
        EventFiles(tmp_path.joinpath(folder).relative_to(tmp_path))
    assert list(tmp_path.iterdir()) == []
