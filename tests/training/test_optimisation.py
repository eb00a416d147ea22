"""Parameter groups, their rates and gradients, and the warm-up (method, section 5)."""

from pathlib import Path

import pytest
import torch

from hier.config.compose import compose
from hier.config.run import Multipliers, Schedule
from hier.models.network import build_network
from hier.training.objective import Objective
from hier.training.optimisation import build_optimizer, clip_gradients, scale_gradients, start_epoch

CONF = Path(__file__).parents[2] / "conf"
MULTIPLIERS = Multipliers(backbone=0.5, head=3.0, hierarchical_proxies=50.0, metric_proxies=1e4)
CLASSES = 4


@pytest.fixture(scope="module")
def runs():
    suite = compose(["suite=smoke"], CONF)
    return {run.method: run for run in suite.runs.values()}


def parts(run, **changes):
    """(network, objective, optimizer) of a run, with changes to its optimiser."""
    config = run.optimizer.model_copy(update={"multipliers": MULTIPLIERS, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(run.backbone, run.head)
    objective = Objective(run, CLASSES)
    return network, objective, build_optimizer(network, objective, config)


def constant(warmup=0, how="zero_rate"):
    return Schedule(epochs=10, warmup_epochs=warmup, warmup=how, name="constant", step_size=1, gamma=0.1)


def groups(optimizer):
    return {group["name"]: group for group in optimizer.param_groups}


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("hier", ["backbone", "head", "hierarchical_proxies", "metric_proxies"]),
        ("pa", ["backbone", "head", "metric_proxies"]),
        ("ms", ["backbone", "head"]),
        ("hyp", ["backbone", "head"]),
    ],
)
def test_every_trainable_parameter_is_in_exactly_one_group(runs, method, names):
    network, objective, optimizer = parts(runs[method])
    assert [group["name"] for group in optimizer.param_groups] == names
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    trainable = [id(p) for module in (network, objective) for p in module.parameters() if p.requires_grad]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(trainable)


def test_each_group_holds_its_own_parameters(runs):
    network, objective, optimizer = parts(runs["hier"])
    expected = {
        "backbone": list(network.backbone.parameters()),
        "head": [network.head.linear.weight, network.head.linear.bias],
        "hierarchical_proxies": [objective.regularizer.proxies],
        "metric_proxies": [objective.metric.proxies],
    }
    for name, group in groups(optimizer).items():
        assert [id(p) for p in group["params"]] == [id(p) for p in expected[name]], name


def test_without_a_head_there_is_no_group_for_it(runs):
    run = runs["pa"].model_copy(update={"head": None})
    _, _, optimizer = parts(run)
    assert list(groups(optimizer)) == ["backbone", "metric_proxies"]


def test_frozen_batch_norms_are_in_no_group(runs):
    run = runs["pa"]
    frozen = run.backbone.model_copy(update={"batch_norm": "frozen"})
    network, _, optimizer = parts(run.model_copy(update={"backbone": frozen}))
    grouped = {id(p) for p in groups(optimizer)["backbone"]["params"]}
    norms = {id(p) for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    assert norms
    assert not grouped & norms
    for epoch in (0, 1):
        start_epoch(optimizer, constant(warmup=1, how="no_gradient"), epoch)
    assert not any(p.requires_grad for p in network.parameters() if id(p) in norms)


def test_rates_are_lr_times_the_multipliers(runs):
    _, _, optimizer = parts(runs["hier"], lr=2e-3)
    assert start_epoch(optimizer, constant(), 0) == 1.0
    assert {name: group["lr"] for name, group in groups(optimizer).items()} == pytest.approx(
        {"backbone": 1e-3, "head": 6e-3, "hierarchical_proxies": 0.1, "metric_proxies": 20.0}
    )


def test_it_is_adamw_with_weight_decay_on_everything(runs):
    _, _, optimizer = parts(runs["hier"], weight_decay=0.03, eps=1e-4)
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults["fused"]
    for group in optimizer.param_groups:
        assert (group["weight_decay"], group["eps"]) == (0.03, 1e-4)
        assert group["betas"] == (0.9, 0.999)
        assert not group["amsgrad"]


def test_a_first_step_is_adamws_by_hand(runs):
    lr, decay, eps = 1e-3, 0.1, 1e-8
    _, _, optimizer = parts(runs["hier"], lr=lr, weight_decay=decay, eps=eps)
    start_epoch(optimizer, constant(), 0)
    rates = {"backbone": 0.5, "head": 3.0, "hierarchical_proxies": 50.0, "metric_proxies": 1e4}
    before = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, 2.0)
            before[id(p)] = p.detach().double().clone()
    optimizer.step()
    for group in optimizer.param_groups:
        rate = lr * rates[group["name"]]
        for p in group["params"]:
            # m̂ = g and √v̂ = |g| at the first step.
            expected = before[id(p)] * (1 - rate * decay) - rate * 2.0 / (2.0 + eps)
            torch.testing.assert_close(p.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_the_step_schedule_multiplies_every_step_size_epochs(runs):
    _, _, optimizer = parts(runs["hier"], lr=1e-3)
    schedule = Schedule(epochs=10, warmup_epochs=0, name="step", step_size=3, gamma=0.5)
    factors = []
    for epoch in range(10):
        factor = start_epoch(optimizer, schedule, epoch)
        factors.append(factor)
        for name, group in groups(optimizer).items():
            assert group["lr"] == pytest.approx(1e-3 * getattr(MULTIPLIERS, name) * factor)
    assert factors == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_the_constant_schedule_ignores_gamma(runs):
    _, _, optimizer = parts(runs["pa"])
    assert [start_epoch(optimizer, constant(), epoch) for epoch in range(5)] == [1.0] * 5


def test_a_rate_is_a_function_of_the_epoch_alone(runs):
    schedule = Schedule(epochs=10, warmup_epochs=0, name="step", step_size=2, gamma=0.3)
    _, _, straight = parts(runs["pa"])
    for epoch in range(8):
        start_epoch(straight, schedule, epoch)
    _, _, jumped = parts(runs["pa"])
    start_epoch(jumped, schedule, 7)
    rates = [[g["lr"] for g in optimizer.param_groups] for optimizer in (straight, jumped)]
    assert rates[0] == rates[1]


def step(network, objective, optimizer, run):
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(8, 3, 16, 16, generator=generator)
    terms = objective(network(batch), torch.arange(8) // 2, generator)
    optimizer.zero_grad()
    sum(terms.values()).backward()
    optimizer.step()


def parameters(module):
    return [p.detach().clone() for p in module.parameters()]


def moved(module, before):
    """How many of the parameters changed, of how many."""
    now = parameters(module)
    return sum(not torch.equal(a, b) for a, b in zip(now, before, strict=True)), len(now)


@pytest.mark.parametrize("how", ["zero_rate", "no_gradient"])
def test_warming_up_leaves_the_backbone_alone_and_then_lets_it_go(runs, how):
    run = runs["hier"]
    network, objective, optimizer = parts(run, lr=1e-4, weight_decay=0.1)
    network.train()
    modules = {
        "backbone": network.backbone,
        "head": network.head,
        "hierarchical_proxies": objective.regularizer,
        "metric_proxies": objective.metric,
    }
    for epoch in range(4):
        before = {name: parameters(module) for name, module in modules.items()}
        start_epoch(optimizer, constant(2, how), epoch)
        for _ in range(2):
            step(network, objective, optimizer, run)
        for name, module in modules.items():
            changed, total = moved(module, before[name])
            assert changed == (0 if name == "backbone" and epoch < 2 else total), (name, epoch)
        # At a rate of 0 Adam's moments grow: after the warm-up it is not cold.
        known = [p for p in network.backbone.parameters() if optimizer.state.get(p)]
        steps = {int(optimizer.state[p]["step"]) for p in known}
        assert steps == ({2 * epoch + 2} if how == "zero_rate" else {2 * epoch - 2} - {-2, 0})


def test_freezing_again_drops_gradients_that_were_left(runs):
    run = runs["pa"]
    network, objective, optimizer = parts(run)
    start_epoch(optimizer, constant(warmup=0), 0)
    step(network, objective, optimizer, run)
    assert any(p.grad is not None for p in network.backbone.parameters())
    start_epoch(optimizer, constant(5, "no_gradient"), 1)
    before = parameters(network.backbone)
    optimizer.step()  # Adam's momentum alone must not move it, nor weight decay
    assert moved(network.backbone, before)[0] == 0


def test_the_smoke_suite_warms_up_and_the_papers_groups_are_as_published(runs):
    assert runs["hier"].schedule.warmup_epochs == 1
    paper = Multipliers(backbone=1.0, head=1.0, hierarchical_proxies=50.0, metric_proxies=1e4)
    _, _, optimizer = parts(runs["hier"], lr=1e-5, weight_decay=1e-2, multipliers=paper)
    start_epoch(optimizer, constant(), 0)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1e-5, 1e-5, 5e-4, 0.1])


def test_the_networks_gradients_are_scaled_and_the_proxies_are_not(runs):
    network, objective, _ = parts(runs["hier"])
    everything = [*network.parameters(), *objective.parameters()]
    for p in everything[1:]:
        p.grad = torch.ones_like(p)
    scale_gradients(network, runs["hier"].optimizer)
    assert all((p.grad == 1.0).all() for p in everything[1:])
    config = runs["hier"].optimizer.model_copy(update={"network_gradient_scale": 0.5})
    scale_gradients(network, config)
    assert everything[0].grad is None
    assert all((p.grad == 0.5).all() for p in [*network.parameters()][1:])
    assert all((p.grad == 1.0).all() for p in objective.parameters())


@pytest.mark.parametrize(
    ("value", "norm", "expected"),
    [
        (None, None, [[3.0, -4.0], [12.0]]),
        (3.5, None, [[3.0, -3.5], [3.5]]),  # each value by itself, as HIER's code
        (None, 6.5, [[1.5, -2.0], [6.0]]),  # all together have norm 13, as Hyp's code
        (None, 20.0, [[3.0, -4.0], [12.0]]),
        (4.0, 3.2, [[1.5, -2.0], [2.0]]),  # values first: √(9 + 16 + 16) = 6.403
    ],
)
def test_gradients_are_clipped_by_value_and_by_norm(runs, value, norm, expected):
    config = runs["hier"].optimizer.model_copy(update={"clip_value": value, "clip_norm": norm})
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (2, 1, 1)]
    parameters[0].grad = torch.tensor([3.0, -4.0])
    parameters[1].grad = torch.tensor([12.0])  # the third has none, as while the backbone is frozen
    clip_gradients(parameters, config)
    for parameter, values in zip(parameters, expected, strict=False):
        torch.testing.assert_close(parameter.grad, torch.tensor(values), rtol=1e-3, atol=1e-5)
    assert parameters[2].grad is None
