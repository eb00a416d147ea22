"""Training from end to end, on a made-up store of eight colours."""

import numpy as np
import pytest
import torch

from fakes.training import (
    CLASSES,
    CONF,
    PER_CLASS,
    changed,
    images_of,
    make_store,
    tiny_runs,
    torch_as_before,
    trained,
)
from hier.config.compose import compose
from hier.config.run import Hier, NoRegularizer
from hier.errors import ConfigError, DivergedError
from hier.seeding import seed_for, torch_generator
from hier.stages.train import tensors
from hier.training.batches import AugmentedImages, Normalise, TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.loop import start_network, train
from hier.training.objective import Objective

TRAINED = ["pa", "ms", "hyp", "hier"]


@pytest.fixture(autouse=True)
def restored():
    with torch_as_before():
        yield


@pytest.fixture(scope="module")
def runs():
    return tiny_runs()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))


def equal(one, other):
    """Whether two dicts of tensors agree bit by bit."""
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and one[name].numpy().tobytes() == other[name].numpy().tobytes()
        for name in one
    )


def same_result(one, other):
    return equal(one[0], other[0]) and equal(one[1], other[1]) and one[2] == other[2]


@pytest.fixture(scope="module")
def undisturbed(runs, store, tmp_path_factory):
    """HIER's tensors and history without any break."""
    return trained(runs["hier"], store, tmp_path_factory.mktemp("undisturbed"))


def test_twice_the_same_run_is_the_same(runs, store, tmp_path, undisturbed):
    torch.manual_seed(123)
    np.random.seed(123)
    assert same_result(trained(runs["hier"], store, tmp_path), undisturbed)


def test_another_seed_is_another_run(runs, store, tmp_path, undisturbed):
    other = trained(runs["hier"].model_copy(update={"seed": 1}), store, tmp_path)
    assert not equal(other[0], undisturbed[0])
    assert not equal(other[1], undisturbed[1])


def test_loader_workers_change_nothing(runs, store, tmp_path, undisturbed):
    run = changed(runs["hier"], runtime={"workers": 2})
    assert same_result(trained(run, store, tmp_path), undisturbed)


def test_a_crash_while_saving_is_made_good(runs, store, tmp_path, undisturbed, monkeypatch):
    save = Checkpoints.save

    def crash(self, epoch, step, *rest):
        if epoch == 3:
            raise KeyboardInterrupt
        return save(self, epoch, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            trained(runs["hier"], store, tmp_path)
    assert same_result(trained(runs["hier"], store, tmp_path), undisturbed)


@pytest.mark.parametrize("when", [1, 2])  # the epoch after the frozen one, and the next
def test_a_crash_within_an_epoch_is_made_good(runs, store, tmp_path, undisturbed, monkeypatch, capsys, when):
    run = runs["hier"]
    epoch_of = TrainingImages.epoch

    def crash(self, epoch, device, start, **rest):
        for step, batch in enumerate(epoch_of(self, epoch, device, start, **rest)):
            if (epoch, step) == (when, 1):
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(TrainingImages, "epoch", crash)
        with pytest.raises(KeyboardInterrupt):
            trained(run, store, tmp_path)
    epochs = []

    def watched(self, epoch, device, start, **rest):
        epochs.append(epoch)
        return epoch_of(self, epoch, device, start, **rest)

    monkeypatch.setattr(TrainingImages, "epoch", watched)
    assert same_result(trained(run, store, tmp_path), undisturbed)
    assert epochs == list(range(when, 3))
    assert f"{run.name}: going on after epoch {when}" in capsys.readouterr().out


def test_a_finished_run_is_not_trained_again(runs, store, tmp_path, monkeypatch):
    finished = trained(runs["pa"], store, tmp_path)
    monkeypatch.setattr(TrainingImages, "epoch", lambda *_, **__: pytest.fail("it trains"))
    assert same_result(trained(runs["pa"], store, tmp_path), finished)


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(runs, store, tmp_path, undisturbed, capsys):
    other = changed(runs["hier"], optimizer={"lr": 1e-4})
    trained(other, store, tmp_path, identity="other")
    assert same_result(trained(runs["hier"], store, tmp_path), undisturbed)
    assert "going on" not in capsys.readouterr().out


def test_batch_norms_see_every_training_batch(undisturbed):
    seen = [int(v) for name, v in undisturbed[0].items() if name.endswith("num_batches_tracked")]
    assert seen
    assert set(seen) == {9}  # three epochs of 48 images // 16, the frozen one included


def test_history_has_a_row_per_epoch(undisturbed, runs):
    history = undisturbed[2]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["rate"] for row in history] == [1.0, 1.0, 1.0]
    for row in history:
        assert list(row) == ["epoch", "loss", "metric", "hier", "rate"]
        assert row["loss"] == pytest.approx(row["metric"] + row["hier"], rel=1e-6)


def test_a_step_schedule_shows_in_the_history(runs, store, tmp_path):
    run = changed(runs["ms"], schedule={"name": "step", "step_size": 2, "gamma": 0.5})
    history = trained(run, store, tmp_path)[2]
    assert [row["rate"] for row in history] == [1.0, 1.0, 0.5]
    assert all(row["loss"] == row["metric"] for row in history)


def test_the_backbone_keeps_its_start_while_warming_up(runs, store, tmp_path):
    run = changed(runs["pa"], schedule={"epochs": 1, "warmup_epochs": 1})
    start = dict(start_network(run).named_parameters())
    network = trained(run, store, tmp_path)[0]
    for name, value in start.items():
        frozen = name.startswith("backbone.")
        assert torch.equal(network[name], value) == frozen, name


def test_every_method_starts_from_the_same_network(runs):
    every_method = compose(["suite=smoke"], CONF).runs.values()
    starts = []
    for seed, run in enumerate(every_method):
        torch.manual_seed(seed)
        starts.append(tensors(start_network(run)))
    assert len(starts) == 5
    assert all(equal(start, starts[0]) for start in starts)
    other = tensors(start_network(runs["pa"].model_copy(update={"seed": 1})))
    assert not torch.equal(other["head.linear.weight"], starts[0]["head.linear.weight"])


@pytest.mark.parametrize("method", TRAINED)
def test_an_easy_task_is_learnt(runs, store, tmp_path, method):
    run = changed(runs[method], schedule={"epochs": 12, "warmup_epochs": 0})
    network, _, history = trained(run, store, tmp_path)
    assert len(history) == 12
    first, last = (np.mean([row["metric"] for row in rows]) for rows in (history[:2], history[-2:]))
    assert last < 0.8 * first
    assert all(value.isfinite().all() for value in network.values())


def test_learning_draws_the_classes_together(runs, store, tmp_path):
    run = changed(runs["pa"], schedule={"epochs": 12, "warmup_epochs": 0})
    pictures, classes = store

    def share_of_right_neighbours(network):
        pixels = torch.stack([torch.from_numpy(pictures[i].copy()) for i in range(48)])
        batch = Normalise(run.backbone.mean, run.backbone.std, torch.device("cpu"))(pixels)
        with torch.no_grad():
            z = torch.nn.functional.normalize(network.eval()(batch))
        nearest = (z @ z.T).fill_diagonal_(-2).argmax(1)
        return float((torch.from_numpy(classes)[nearest] == torch.from_numpy(classes)).double().mean())

    network, _, _ = train(run, images_of(store, run), CLASSES, Checkpoints(run.name, "", tmp_path))
    assert share_of_right_neighbours(network) > 0.9


def nan_at(run, monkeypatch, epoch, step, value=float("nan")):
    """Let the objective return `value` at one step, both counted from 0."""
    steps, forward = iter(range(10**6)), Objective.forward

    def broken(self, z, classes, generator):
        terms = forward(self, z, classes, generator)
        if next(steps) == epoch * 3 + step:
            terms["metric"] = terms["metric"] * value
        return terms

    monkeypatch.setattr(Objective, "forward", broken)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_divergence_names_run_epoch_step_and_checkpoint(runs, store, tmp_path, monkeypatch, value):
    run = runs["hier"]
    nan_at(run, monkeypatch, epoch=1, step=2, value=value)
    with pytest.raises(DivergedError) as caught:
        trained(run, store, tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{run.name}: the loss is no longer finite (metric {value:g}, hier ")
    assert "at epoch 2, step 3;" in text
    assert f"last good checkpoint: {tmp_path / run.name}" in text
    assert "e0001-s00000." in text
    assert "lower optimizer.lr" in text
    assert "\n" not in text


def test_divergence_in_the_first_epoch_has_no_checkpoint(runs, store, tmp_path, monkeypatch):
    nan_at(runs["pa"], monkeypatch, epoch=0, step=0)
    with pytest.raises(DivergedError, match=r"epoch 1, step 1; last good checkpoint: none"):
        trained(runs["pa"], store, tmp_path)


def test_too_few_classes_for_a_batch_are_an_error(runs, store, tmp_path):
    run = changed(runs["pa"], sampler={"batch_size": 18})
    with pytest.raises(ConfigError, match="needs 18 images of 9 classes"):
        trained(run, store, tmp_path)


def test_the_regulariser_draws_anew_in_each_epoch(runs, store, tmp_path, monkeypatch):
    seeds, forward = [], Objective.forward

    def watched(self, z, classes, generator):
        seeds.append(generator.initial_seed())
        return forward(self, z, classes, generator)

    monkeypatch.setattr(Objective, "forward", watched)
    trained(runs["hier"], store, tmp_path)
    assert seeds == [seed_for(0, "regularizer", epoch) for epoch in range(3) for _ in range(3)]


def without_weight(run):
    return changed(run, regularizer={"weight": 0.0})


def test_weight_zero_is_proxy_anchor_alone(runs, store, tmp_path):
    plain = trained(runs["pa"], store, tmp_path)
    zero = trained(without_weight(runs["hier"]), store, tmp_path)
    assert equal(zero[0], plain[0])
    assert torch.equal(zero[1]["metric.loss.proxies"], plain[1]["metric.loss.proxies"])
    assert [row["metric"] for row in zero[2]] == [row["metric"] for row in plain[2]]


def test_the_regulariser_changes_the_network(runs, store, tmp_path, undisturbed):
    plain = trained(runs["pa"], store, tmp_path)
    assert not equal(plain[0], undisturbed[0])


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_loss_is_the_metric_loss_plus_the_weighted_regulariser(runs, weight):
    run = changed(runs["hier"], regularizer={"weight": weight})
    assert isinstance(run.regularizer, Hier)
    objective, plain = Objective(run, CLASSES), Objective(runs["pa"], CLASSES)
    z = torch.nn.functional.normalize(torch.randn(16, run.dim)) * 1.5
    classes = torch.arange(16) // 2
    terms = objective(z, classes, torch_generator(0, "a"))
    alone = objective.regularizer(z, classes, torch_generator(0, "a"))
    assert list(terms) == ["metric", "hier"]
    assert alone > 0
    torch.testing.assert_close(terms["hier"], weight * alone)
    assert torch.equal(terms["metric"], plain(z, classes, torch_generator(0, "b"))["metric"])


def test_metric_losses_see_directions_only_but_hyps_sees_the_ball(runs):
    torch.manual_seed(0)
    z, classes = torch.randn(16, 16) * 0.2, torch.arange(16) // 2
    for method in TRAINED:
        objective = Objective(runs[method], CLASSES)
        near, far = (objective(s * z, classes, torch_generator(0, "a"))["metric"] for s in (1, 2))
        assert torch.isclose(near, far, rtol=1e-4) == (method != "hyp"), method


def test_objectives_proxies_come_from_generators_of_their_own(runs):
    run = runs["hier"]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = Objective(run, CLASSES)
    assert torch.equal(before, torch.get_rng_state())
    assert equal(tensors(one), tensors(Objective(run, CLASSES)))
    assert torch.equal(one.metric.proxies, Objective(runs["pa"], CLASSES).metric.proxies)
    other = Objective(run.model_copy(update={"seed": 1}), CLASSES)
    assert not torch.equal(one.metric.proxies, other.metric.proxies)
    assert not torch.equal(one.regularizer.proxies, other.regularizer.proxies)
    assert isinstance(runs["pa"].regularizer, NoRegularizer)


def test_batches_are_normalised_images_and_their_classes(runs, store):
    run = runs["pa"]
    images = images_of(store, run)
    assert images.steps == 3
    batches = list(images.epoch(0, torch.device("cpu")))
    assert len(batches) == 3
    for batch, classes in batches:
        assert (batch.shape, batch.dtype) == ((16, 3, 16, 16), torch.float32)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert classes.dtype == torch.int64
        assert (classes[0::2] == classes[1::2]).all()
        # The colour tells which class an image is of: 255 (0.5 x + 0.5) is the pixel.
        means = (batch * 0.5 + 0.5).mean(dim=(2, 3)) * 255
        colours = torch.stack(
            [torch.from_numpy(store[0][int(c) * PER_CLASS] / 1.0).mean((0, 1)) for c in classes]
        )
        assert (means - colours).abs().max() < 25
    again = list(images.epoch(0, torch.device("cpu")))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(batches, again, strict=True))
    other = list(images.epoch(1, torch.device("cpu")))
    assert not any(torch.equal(a[0], b[0]) for a, b in zip(batches, other, strict=True))


def test_an_image_seen_twice_in_an_epoch_is_augmented_anew(runs, store):
    images = TrainingImages(store[0], np.arange(8) * 6, np.arange(8), runs["pa"])
    images.run = changed(runs["pa"], sampler={"batch_size": 8, "images_per_class": 2})
    [(batch, classes)] = list(images.epoch(0, torch.device("cpu")))
    assert (classes[0::2] == classes[1::2]).all()
    assert not any(torch.equal(a, b) for a, b in zip(batch[0::2], batch[1::2], strict=True))


def test_an_image_is_augmented_anew_in_each_epoch(runs, store):
    rows = np.arange(4)
    one, same, other = (AugmentedImages(store[0], rows, runs["pa"], epoch) for epoch in (0, 0, 1))
    for position in range(4):
        assert torch.equal(one[position], same[position])
        assert not torch.equal(one[position], other[position])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_generator_ends_where_it_would_without_workers(runs, store, workers):
    """What draws from it after the batches (dropout) must not depend on the workers."""
    states = []
    for run in (runs["pa"], changed(runs["pa"], runtime={"workers": workers})):
        torch.manual_seed(5)
        list(images_of(store, run).epoch(0, torch.device("cpu")))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("asked", [False, True])
def test_the_network_is_compiled_where_the_run_says_so_and_its_model_is_the_same(
    runs, store, tmp_path, monkeypatch, asked
):
    given = []

    def compiled(network):
        given.append(network)
        return lambda batch: network(batch)

    monkeypatch.setattr(torch, "compile", compiled)
    run = changed(runs["pa"], runtime={"compile": asked})
    checkpoints = Checkpoints(run.name, "", tmp_path)
    network, _, _ = train(run, images_of(store, run), CLASSES, checkpoints)
    assert given == ([network] if asked else [])
    assert not any(name.startswith("_orig_mod") for name in network.state_dict())


def test_normalise_is_its_formula():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 16, 16, 3)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    actual = Normalise(mean, std, torch.device("cpu"))(pixels)
    expected = (pixels.double().numpy() / 255 - mean) / std
    np.testing.assert_allclose(actual.double().numpy(), expected.transpose(0, 3, 1, 2), atol=2e-6)
    assert actual.is_contiguous(memory_format=torch.channels_last)
    assert pixels.dtype == torch.uint8
