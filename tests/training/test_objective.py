"""The objective of a run: which module each loss and setting gives."""

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from hier.config.compose import compose
from hier.losses.library import LibraryLoss, ProxyLoss
from hier.losses.memory import CrossBatch
from hier.losses.pairwise import PairwiseCrossEntropy
from hier.seeding import torch_generator
from hier.stages.train import tensors
from hier.training.objective import Objective

CONF = Path(__file__).parents[2] / "conf"
CLASSES = 8
LOSSES = {
    "pa": ProxyLoss,
    "ms": LibraryLoss,
    "hyp": PairwiseCrossEntropy,
    "pnca": ProxyLoss,
    "softtriple": ProxyLoss,
    "nsoftmax": ProxyLoss,
    "xbm": CrossBatch,
}
ALONE = list(LOSSES)
REGULARISED = ["hier", *(f"hier_{name}" for name in LOSSES if name != "pa")]
WITH_PROXIES = ["pa", "pnca", "softtriple", "nsoftmax"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The smoke suite's run of every method."""
    conf = tmp_path_factory.mktemp("losses") / "conf"
    shutil.copytree(CONF, conf)
    file = conf / "suite/smoke.yaml"
    given = "methods: [untrained, pa, ms, hyp, hier]"
    assert given in file.read_text()
    methods = f"methods: [{', '.join(ALONE + REGULARISED)}]"
    file.write_text(file.read_text().replace(given, methods))
    suite = compose(["suite=smoke"], conf)
    return {run.method: run for run in suite.runs.values()}


def batch(run, n=16):
    z = 0.4 * torch.randn(n, run.dim, generator=torch.Generator().manual_seed(0))
    return z.requires_grad_(), torch.arange(n) // 2


def changed(run, **parts):
    updates = {name: getattr(run, name).model_copy(update=new) for name, new in parts.items()}
    return run.model_copy(update=updates)


@pytest.mark.parametrize("method", ALONE + REGULARISED)
def test_every_method_gives_its_loss_and_gradients(runs, method):
    run = runs[method]
    objective, (z, classes) = Objective(run, CLASSES), batch(run)
    assert type(objective.metric) is LOSSES[run.loss.name]
    assert run.loss.name == ("pa" if method == "hier" else method.removeprefix("hier_"))
    assert run.loss.learns_proxies == any(True for _ in objective.metric.parameters())
    assert (objective.regularizer is not None) == (method in REGULARISED)
    poincare = method in REGULARISED or method == "hyp"
    assert run.evaluate.metric == ("poincare" if poincare else "cosine")
    terms = objective(z, classes, torch_generator(0, "a"))
    assert list(terms) == ["metric", *(["hier"] if method in REGULARISED else [])]
    sum(terms.values()).backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().max() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in objective.parameters())


@pytest.mark.parametrize("method", WITH_PROXIES)
def test_proxies_follow_the_seed_and_not_the_global_generator(runs, method):
    run = runs[method]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    proxies = Objective(run, CLASSES).metric.proxies
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(proxies, Objective(run, CLASSES).metric.proxies)
    other = Objective(run.model_copy(update={"seed": 1}), CLASSES).metric.proxies
    assert not torch.equal(proxies, other)


def test_settings_reach_the_losses(runs):
    z, classes = batch(runs["pnca"])
    z = normalize(z)
    for method, setting in {
        "pnca": {"scale": 3.0},
        "softtriple": {"la": 5.0},
        "nsoftmax": {"temperature": 0.2},
        "xbm": {"negative_similarity": 0.0},
        "hyp": {"reduction": "hyp"},
    }.items():
        run, other = runs[method], changed(runs[method], loss=setting)
        values = [Objective(r, CLASSES).metric(z, classes).item() for r in (run, other)]
        assert values[0] != pytest.approx(values[1], rel=1e-3), method
    assert Objective(runs["softtriple"], CLASSES).metric.proxies.shape == (z.shape[1], CLASSES * 10)
    memory = Objective(runs["xbm"], CLASSES).metric
    assert (memory.start, memory.memory.memory_size) == (1000, 1024)


def test_reduction_of_hyp(runs):
    z, classes = batch(runs["hyp"])
    hier, hyp = (
        Objective(changed(runs["hyp"], loss={"reduction": name}), CLASSES).metric(z, classes)
        for name in ("hier", "hyp")
    )
    torch.testing.assert_close(hyp, 4 * hier)  # n² of n = 2 images per class


def test_settings_reach_the_regulariser(runs):
    plain = Objective(runs["hier"], CLASSES).regularizer
    assert (plain.geometry, plain.proxy_term, plain.k_may_equal_i) == ("poincare", True, False)
    official = runs["hier"].protocol.model_copy(update={"k_may_equal_i": True})
    run = changed(
        runs["hier"],
        regularizer={"geometry": "spherical", "proxy_term": False},
        head={"curvature": 0.0},
    ).model_copy(update={"protocol": official})
    other = Objective(run, CLASSES).regularizer
    assert (other.geometry, other.proxy_term, other.k_may_equal_i) == ("spherical", False, True)
    assert torch.equal(plain.proxies, other.proxies)


def test_a_memory_can_be_saved_as_tensors(runs):
    run = changed(runs["xbm"], loss={"start": 0})
    objective, (z, classes) = Objective(run, CLASSES), batch(run)
    objective(z, classes, torch_generator(0, "a"))
    saved = tensors(objective)
    again = Objective(run, CLASSES)
    again.load_state_dict(saved)
    assert again.metric.memory.queue_idx == len(z)
    assert torch.equal(again.metric.memory.embedding_memory[: len(z)], normalize(z.detach()))
