"""Recall while training: which epoch is reported, and that looking changes nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hier.config.compose import compose
from hier.config.protocol import Protocol
from hier.config.run import Run
from hier.data.store import ImageStore
from hier.errors import ConfigError
from hier.evaluation.retrieval.while_training import recalls_of
from hier.stages.train import tensors, training_rows, write_history
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.loop import train
from hier.training.model_selection import ModelSelector

CONF = Path(__file__).parents[2] / "conf"
SEEN, UNSEEN, PER_CLASS, SIZE = 8, 4, 6, 16
SETTINGS = [
    "suite=smoke", "augmentation.size=16", "embed.resize=16", "embed.crop=16",
    "sampler.batch_size=8", "runtime.device=cpu", "schedule.epochs=4", "methods=[pa]",
]  # fmt: skip


@pytest.fixture(autouse=True)
def restored():
    """Leave torch's global settings and generator as they were."""
    with torch.random.fork_rng():
        threads = torch.get_num_threads()
        filled = torch.utils.deterministic.fill_uninitialized_memory
        benchmark = torch.backends.cudnn.benchmark
        yield
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
        torch.backends.cudnn.benchmark = benchmark
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plain() -> Run:
    """A run that never looks."""
    return next(iter(compose(SETTINGS, CONF).runs.values()))


def watching(run, test_every=1, choose="last", held_out_classes=0.0, **others):
    protocol = run.protocol.model_dump() | {
        "test_every": test_every, "choose": choose, "held_out_classes": held_out_classes, **others,
    }  # fmt: skip
    return run.model_copy(update={"protocol": Protocol.model_validate(protocol)})


class Scripted:
    """Recalls that a list gives, one after the other; puts the network into evaluation mode."""

    def __init__(self, *values, column="test R@1"):
        self.values, self.column, self.asked = list(values), column, 0

    def __call__(self, network):
        network.eval()
        self.asked += 1
        return {"test R@1": 0.0, self.column: self.values[self.asked - 1]}


def followed(run, recalls, epochs=4):
    """The weight of a network that holds its epoch's number, after the choice; and what was seen."""
    network, selector, rows = nn.Linear(1, 1), ModelSelector(run, recalls), []
    for epoch in range(epochs):
        network.train()
        nn.init.constant_(network.weight, epoch + 1.0)
        rows.append(selector.evaluate(network, epoch))
        assert network.training
    selector.restore_best(network)
    return float(network.weight.detach()), rows


# --- when it looks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "looks"),
    [
        ({"test_every": 0}, []),
        ({"test_every": 1}, [1, 2, 3, 4]),
        ({"test_every": 2}, [1, 3, 4]),
        ({"test_every": 2, "test_last": False}, [1, 3]),
        ({"test_every": 1, "test_from": 2}, [3, 4]),
        ({"test_every": 3, "test_from": 1, "test_last": False}, [4]),
        ({"test_every": 9, "test_from": 9}, [4]),
        ({"test_every": 9, "test_from": 9, "test_last": False}, []),
    ],
)
def test_it_looks_every_so_many_epochs_from_one_on(plain, given, looks):
    """Epochs are counted from 0 in the settings, as in the released code, and from 1 in the history."""
    recalls = Scripted(*[0.5] * 4)
    _, rows = followed(watching(plain, **given), recalls)
    assert [epoch for epoch, row in enumerate(rows, 1) if row] == looks
    assert recalls.asked == len(looks)


def test_without_anything_to_measure_it_does_not_look(plain):
    assert followed(watching(plain), None) == (4.0, [{}] * 4)


# --- what it chooses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choose", "column", "recalls", "epoch"),
    [
        ("last", "test R@1", (0.9, 0.1, 0.2, 0.3), 4),
        ("best_on_test", "test R@1", (0.1, 0.9, 0.2, 0.3), 2),
        ("best_on_test", "test R@1", (0.1, 0.2, 0.3, 0.4), 4),
        ("best_on_test", "test R@1", (0.5, 0.9, 0.9, 0.3), 2),  # of equals the earliest
        ("best_on_test", "test R@1", (0.0, 0.0, 0.0, 0.0), 1),
        ("held_out", "held-out R@1", (0.1, 0.2, 0.9, 0.3), 3),
    ],
)
def test_the_chosen_epochs_weights_are_given_back(plain, choose, column, recalls, epoch):
    run = watching(plain, 1, choose, 0.25 if choose == "held_out" else 0.0)
    weight, _ = followed(run, Scripted(*recalls, column=column))
    assert weight == epoch


def test_a_choice_on_held_out_classes_does_not_see_the_test_classes(plain):
    def recalls(network):
        epoch = float(network.weight.detach())
        return {"test R@1": epoch / 4, "held-out R@1": 1 - epoch / 4}

    assert followed(watching(plain, 1, "held_out", 0.25), recalls)[0] == 1.0
    assert followed(watching(plain, 1, "best_on_test"), recalls)[0] == 4.0


def test_only_epochs_that_were_looked_at_can_be_chosen(plain):
    run = watching(plain, 2, "best_on_test", test_from=1)
    assert followed(run, Scripted(0.9, 0.1))[0] == 3.0


def test_it_goes_on_from_its_state(plain, tmp_path):
    run = watching(plain, 1, "best_on_test")
    network, selector = nn.Linear(1, 1), ModelSelector(run, Scripted(0.9))
    nn.init.constant_(network.weight, 1.0)
    selector.evaluate(network, 0)
    torch.save(selector.state_dict(), tmp_path / "state.pt")
    again = ModelSelector(run, Scripted(0.5, 0.9))
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for epoch in (1, 2):
        nn.init.constant_(network.weight, epoch + 1.0)
        again.evaluate(network, epoch)
    again.restore_best(network)
    assert float(network.weight.detach()) == 1.0
    assert again.best == 0.9
    empty = ModelSelector(plain, None)
    empty.load_state_dict(ModelSelector(plain, None).state_dict())
    assert (empty.best, empty.state) == (-1.0, {})


# --- held-out classes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """(index, store): six images of each of twelve colours, of which eight are for training."""
    rng = np.random.default_rng(0)
    labels = np.arange(SEEN + UNSEEN).repeat(PER_CLASS)
    colours = rng.integers(60, 196, (SEEN + UNSEEN, 3))[labels]
    noise = rng.integers(-60, 60, (len(labels), SIZE, SIZE, 3))
    path = tmp_path_factory.mktemp("store") / "images.npy"
    np.save(path, (colours[:, None, None] + noise).astype(np.uint8).ravel())
    order = rng.permutation(len(labels))
    index = pd.DataFrame(
        {"label": labels, "height": SIZE, "width": SIZE, "offset": np.arange(len(labels)) * 768}
    )
    index["split"] = np.where(labels < SEEN, "train", "test")
    index["superclass"] = None
    index = index.iloc[order].reset_index(drop=True)
    return index, ImageStore(path, index)


@pytest.mark.parametrize(("share", "classes"), [(0.125, 1), (0.25, 2), (0.3, 2), (0.85, 7)])
def test_held_out_classes_are_not_trained_on(plain, data, share, classes):
    index, _ = data
    run = watching(plain, 1, "held_out", share)
    rows, held_out = training_rows(index, run)
    label, split = index["label"].to_numpy(), index["split"].to_numpy()
    assert set(label[rows]).isdisjoint(label[held_out])
    assert len(set(label[held_out])) == classes
    assert sorted([*rows, *held_out]) == list(np.flatnonzero(split == "train"))
    again = training_rows(index, run)
    assert np.array_equal(again[0], rows)
    assert np.array_equal(again[1], held_out)
    drawn = {
        tuple(sorted(set(label[training_rows(index, other)[1]])))
        for other in (run.model_copy(update={"seed": seed}) for seed in range(8))
    }
    assert len(drawn) > 1  # another seed, other classes


def test_without_a_share_all_training_images_are_trained_on(plain, data):
    rows, held_out = training_rows(data[0], plain)
    assert len(rows) == SEEN * PER_CLASS
    assert len(held_out) == 0


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_share_that_leaves_one_side_empty_is_refused(plain, data, share):
    with pytest.raises(ConfigError, match=rf"protocol\.held_out_classes {share} is . of the 8"):
        training_rows(data[0], watching(plain, 1, "held_out", share))


# --- in training ----------------------------------------------------------------------------------


def trained(run, data, folder, ks=(1, 2), identity="same", **settings):
    """(network, proxies, history) of a run that looks at the data's test classes."""
    index, store = data
    rows, held_out = training_rows(index, run)
    labels, classes = np.unique(index["label"].to_numpy()[rows], return_inverse=True)
    images = TrainingImages(store, rows, classes, run)
    recalls = recalls_of(run, index, store, held_out, list(ks))
    checkpoints = Checkpoints(run.name, identity, folder, **settings)
    network, objective, history = train(run, images, len(labels), checkpoints, recalls)
    return tensors(network), tensors(objective), history


def equal(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def unwatched(plain, data, tmp_path_factory):
    return trained(plain, data, tmp_path_factory.mktemp("unwatched"))


@pytest.mark.parametrize(("every", "last"), [(1, True), (3, True), (2, False)])
def test_looking_changes_nothing_but_the_history(plain, data, unwatched, tmp_path, every, last):
    network, proxies, history = trained(watching(plain, every, test_last=last), data, tmp_path)
    assert equal(network, unwatched[0])
    assert equal(proxies, unwatched[1])
    shown = ["test R@1", "test R@2"]
    for epoch, (row, before) in enumerate(zip(history, unwatched[2], strict=True), 1):
        assert {k: v for k, v in row.items() if k not in shown} == before
        looked = (epoch - 1) % every == 0 or (last and epoch == 4)
        assert [k for k in row if k in shown] == (shown if looked else [])
        assert all(0 <= row[k] <= 1 for k in shown if looked)
    write_history(history, tmp_path / "history.csv")
    table = pd.read_csv(tmp_path / "history.csv")
    assert list(table) == ["epoch", "loss", "metric", "rate", *shown]
    assert list(table["test R@1"].isna()) == ["test R@1" not in row for row in history]


def test_the_best_epoch_on_the_test_classes_is_the_one_of_the_history(plain, data, tmp_path):
    """Its weights and proxies are those of a run that ends there, since nothing depends on later epochs."""
    run = watching(plain, 1, "best_on_test")
    network, proxies, history = trained(run, data, tmp_path / "whole")
    best = int(np.argmax([row["test R@1"] for row in history])) + 1
    schedule = plain.schedule.model_copy(update={"epochs": best})
    short = plain.model_copy(update={"schedule": schedule})
    there = trained(short, data, tmp_path / "short")
    assert equal(network, there[0])
    assert equal(proxies, there[1])


@pytest.mark.parametrize("when", [(3, 0), (3, 2)], ids=["between epochs", "within one"])
def test_the_choice_outlives_a_crash(plain, data, tmp_path, monkeypatch, capsys, when):
    run = watching(plain, 1, "held_out", 0.25)
    run = run.model_copy(update={"sampler": run.sampler.model_copy(update={"batch_size": 6})})
    whole = trained(run, data, tmp_path / "whole")
    assert {"test R@1", "held-out R@1"} <= set(whole[2][0])
    save = Checkpoints.save

    def crash(self, epoch, step, *rest):
        path = save(self, epoch, step, *rest)
        if (epoch, step) == when:
            raise KeyboardInterrupt
        return path

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            trained(run, data, tmp_path / "broken", seconds=0.0)
    again = trained(run, data, tmp_path / "broken")
    place = "step 2 of epoch 4" if when[1] else "epoch 3"
    assert f"going on after {place}\n" in capsys.readouterr().out
    assert equal(again[0], whole[0])
    assert again[2] == whole[2]


def test_recall_at_1_is_measured_where_the_dataset_does_not_list_it(plain, data, tmp_path):
    history = trained(watching(plain, 4, "best_on_test"), data, tmp_path, ks=(4, 2))[2]
    assert [name for name in history[-1] if "R@" in name] == ["test R@1", "test R@2", "test R@4"]


@pytest.mark.parametrize(("unmatched", "share"), [("count_as_misses", 0.5), ("leave_out", 1.0)])
def test_lone_images_are_judged_as_the_setting_says(plain, data, monkeypatch, unmatched, share):
    """Two classes of two images each (always right) and four of one, on both sides."""
    index, store = data
    run = watching(plain, 1, "held_out", 0.5)
    evaluate = run.evaluate.model_copy(update={"unmatched": unmatched})
    run = run.model_copy(update={"evaluate": evaluate})
    rows = np.arange(16)
    few = index.iloc[rows].assign(
        label=[0, 0, 1, 1, 2, 3, 4, 5, 10, 10, 11, 11, 12, 13, 14, 15],
        split=["train"] * 8 + ["test"] * 8,
    )
    points = torch.eye(16)[[0, 0, 1, 1, 2, 3, 4, 5, 0, 0, 1, 1, 2, 3, 4, 5]]
    monkeypatch.setattr(
        "hier.evaluation.retrieval.while_training.embed",
        lambda n, s, rows, *_: points[rows].float(),
    )
    found = recalls_of(run, few, store, rows[:8], [1])(nn.Linear(1, 1))
    assert found == {"test R@1": share, "held-out R@1": share}


@pytest.mark.parametrize("side", ["test", "held-out"])
def test_a_side_on_which_nothing_can_be_right_is_told_before_training(plain, data, side):
    index, store = data
    run = watching(plain, 1, "held_out", 0.5)
    alone = index.drop_duplicates("label").assign(label=lambda rows: range(len(rows)))
    index = index.drop(index[index["split"] == "test"].index) if side == "test" else index
    index = pd.concat([index, alone], ignore_index=True)
    rows = np.flatnonzero(index["split"] == "train")
    held_out = rows[-3:] if side == "held-out" else rows[:12]
    with pytest.raises(ConfigError, match=f"none of the . {side} queries"):
        recalls_of(run, index, store, held_out, [1])
