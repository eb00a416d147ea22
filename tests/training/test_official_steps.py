"""The official training, step for step, through this project's own step, objective and schedule.

A replay without the official code's 1e-5 terms is held to the run of it without them (`exact/`), and to the
run as released at what those terms change (tests/golden/steps/README.md).
"""

import pytest
import torch

from fakes.steps import TRAININGS, Replay

PARAMETERS, LOSSES = 1e-10, 1e-12
# What the 1e-5 terms change: backbone, head, hierarchical proxies, metric proxies; loss (relative).
CHANGED = {
    "hier_plain": (4e-8, 5e-9, 1.7e-6, 9e-8, 3e-6),
    "hier_warmup": (5e-9, 4e-9, 2.2e-6, 1.8e-7, 2.2e-6),
    "hier_two_gpus-eps1e-4": (7e-9, 3.3e-9, 1.2e-6, 3e-8, 2.4e-6),
    "hier_two_gpus-eps1e-8": (3.6e-9, 1.3e-9, 2.2e-6, 1.8e-8, 2.4e-6),
    "pa": (5e-9, 1.9e-9, 0, 1.9e-8, 4e-9),
    "ms": (1.6e-8, 1.1e-8, 0, 0, 9e-9),
    "hyp-n2": (1.5e-7, 1.7e-8, 0, 0, 2.5e-5),
    "hyp-n3": (1.5e-7, 1.7e-8, 0, 0, 2.5e-5),
    "bn_freeze": (4e-9, 6e-10, 8e-6, 9e-9, 1.6e-6),
}
PARTS = ("backbone", "head", "regularizer", "metric")
GRADIENT = 5e-3  # of its largest element; half of a gradient is 0.5 away


@pytest.fixture(scope="module", params=TRAININGS)
def replay(request):
    with pytest.MonkeyPatch.context() as patch:
        yield request.param, Replay(request.param, patch).follow()


def deviations(replay, kind):
    """Largest absolute difference of any parameter after any snapshot, by its part."""
    found = dict.fromkeys(PARTS, 0.0)
    trained = {name for name, p in replay.parameters().items() if p.requires_grad}
    for number in replay.settings["snapshots"]:
        at = f"{kind}after{number}/"
        assert {key.removeprefix(at) for key in replay.arrays if key.startswith(at)} == trained
        for name, value in replay.after[number].items():
            if name in trained:
                part, off = name.split(".")[0], (value - replay.arrays[at + name]).abs().max()
                found[part] = max(found[part], off.item())
    return found


def loss_deviation(replay, kind, keys=("loss", "loss_metric", "loss_hier")):
    """Largest relative difference of a loss or a term of it at any step."""
    ours = torch.tensor(replay.losses, dtype=torch.float64).unbind(1)
    found = [0.0]
    for key, values in zip(("loss", "loss_metric", "loss_hier"), ours, strict=False):
        if key in keys and f"{kind}{key}" in replay.arrays:
            theirs = replay.arrays[f"{kind}{key}"]
            found.append(((values - theirs).abs() / theirs.abs().clamp_min(1e-9)).max().item())
    assert len(found) > 1
    return max(found)


def test_every_file_is_replayed():
    assert set(TRAININGS) == set(CHANGED)


def test_it_is_the_official_training_but_for_its_small_terms(replay):
    name, replayed = replay
    found = deviations(replayed, "exact/") | {"loss": loss_deviation(replayed, "exact/")}
    print(f"{name}:", " ".join(f"{part} {value:.1e}" for part, value in found.items()))
    assert found.pop("loss") < LOSSES
    assert max(found.values()) < PARAMETERS


def test_it_is_the_official_training_as_near_as_its_small_terms_let(replay):
    name, replayed = replay
    *parts, loss = CHANGED[name]
    found = deviations(replayed, "")
    for part, bound in zip(PARTS, parts, strict=True):
        assert found[part] <= 2 * bound, part
    assert loss_deviation(replayed, "", keys=("loss",)) < 2 * loss


def test_the_optimiser_gets_the_official_gradients(replay):
    """Parameters alone cannot say it: with eps 1e-8 AdamW hides a factor of ½."""
    _, replayed = replay
    theirs = {
        key.removeprefix("grad1/"): value
        for key, value in replayed.arrays.items()
        if key.startswith("grad1/")
    }
    assert theirs.keys() == replayed.gradients.keys()
    for name, value in theirs.items():
        off = (replayed.gradients[name] - value).abs().max()
        assert off <= GRADIENT * value.abs().max() + 1e-12, name


def test_rates_related_pairs_and_norms_are_the_official_ones(replay):
    _, replayed = replay
    assert replayed.others == []
    rates = replayed.arrays["lr"]
    names = replayed.settings["optimizer"]["groups"]
    for group, ours in zip(
        replayed.step.optimizer.param_groups, zip(*replayed.rates, strict=True), strict=True
    ):
        theirs = rates[:, names.index(group["name"]) if len(names) > 1 else 0]
        torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), theirs)
    assert len(replayed.norms) == (len(rates) if "grad_norm" in replayed.arrays else 0)
    if replayed.norms:
        ours = torch.tensor(replayed.norms, dtype=torch.float64)
        torch.testing.assert_close(ours, replayed.arrays["exact/grad_norm"], rtol=1e-6, atol=0)


def test_batch_norms_in_eval_mode_learn_no_statistics(replay):
    """That their weights and biases are trained is in the file: they are among its parameters."""
    _, replayed = replay
    for name, buffer in replayed.network.named_buffers():
        assert torch.equal(buffer, replayed.arrays[f"start/{name}"]), name


def lengths(name, **changes):
    """How far the backbone moves in each step after the warm-up."""
    with pytest.MonkeyPatch.context() as patch:
        replayed = Replay(name, patch, **changes).follow()
    return torch.tensor(replayed.lengths[replayed.settings["warmup_steps"] :])


def told(what, ratios):
    print(f"{what}: {ratios[0]:.2f} in the first step, {ratios[-1]:.2f} in step {len(ratios)}")


def test_after_a_warm_up_without_gradients_adam_starts_cold():
    """Its first steps are longer than those of the released code, whose moments have grown by then."""
    warm = lengths("hier_warmup")
    cold = lengths("hier_warmup", schedule={"warmup": "no_gradient"})
    told("no_gradient to zero_rate", cold / warm)
    assert cold[0] > 1.2 * warm[0]


def test_half_of_the_networks_gradient_is_a_shorter_step_where_eps_is_not_small():
    full = {"optimizer": {"network_gradient_scale": 1.0}}
    with_eps = lengths("hier_two_gpus-eps1e-4") / lengths("hier_two_gpus-eps1e-4", **full)
    told("half to full with eps 1e-4", with_eps)
    assert (with_eps < 0.998).all()
    without = lengths("hier_two_gpus-eps1e-8") / lengths("hier_two_gpus-eps1e-8", **full)
    told("half to full with eps 1e-8", without)
    assert (without > 0.999).all()
