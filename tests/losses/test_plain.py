"""The losses with plain arguments: defaults of conf/, bytes of a run, and what they refuse."""

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fakes.losses import generator
from hier import losses, yaml12
from hier.config.compose import compose
from hier.registry import LOSSES
from hier.training.objective import Objective
from hier.training.state import Generators

CONF = Path(__file__).parents[2] / "conf"
CLASSES, DIM = 8, 16
BY_NAME = {
    "pa": losses.ProxyAnchorLoss,
    "pnca": losses.ProxyNCALoss,
    "pnca_hier": losses.ProxyNCAAngleLoss,
    "softtriple": losses.SoftTripleLoss,
    "nsoftmax": losses.NormalizedSoftmaxLoss,
    "ms": losses.MultiSimilarityLoss,
    "xbm": losses.XBMLoss,
    "hyp": losses.HypLoss,
}
HIER = {"proxies": 32, "neighbours": 6, "triplets_per_anchor": 10}


def conf(path):
    return yaml12.load((CONF / path).read_text(encoding="utf-8"))


def defaults(made):
    given = inspect.signature(made).parameters.values()
    return {p.name: p.default for p in given if p.default is not inspect.Parameter.empty}


def sizes(made, num_classes=CLASSES, dim=DIM):
    """Those of the arguments that it needs."""
    given = {"num_classes": num_classes, "dim": dim}
    return {name: given[name] for name in inspect.signature(made).parameters if name in given}


def batch(dim=DIM, dtype=torch.float32):
    u = torch.randn(16, dim, generator=generator(3), dtype=torch.float64).to(dtype)
    return losses.to_ball(u), torch.arange(16) // 2


def test_every_loss_is_there():
    assert sorted(BY_NAME) == [name for name in LOSSES.names() if name != "none"]
    others = {"HIERLoss", "to_ball"}
    assert {made.__name__ for made in BY_NAME.values()} | others == set(losses.__all__)
    assert set(losses.__all__) <= set(dir(losses))
    page = (CONF.parent / "docs/losses.md").read_text(encoding="utf-8")
    assert all(f"`{name}(" in page for name in losses.__all__)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_defaults_are_those_of_conf(name):
    values = conf(f"loss/{name}.yaml")
    values = values.get("loss", values)
    assert values.pop("name") == name
    assert {key: defaults(BY_NAME[name])[key] for key in values} == values
    assert set(defaults(BY_NAME[name])) - set(values) <= {"seed", "curvature"}


def test_the_defaults_of_the_regulariser_and_of_the_ball_are_those_of_conf():
    values = conf("regularizer/hier.yaml")["regularizer"]
    ball = {key: conf("run.yaml")["head"][key] for key in ("curvature", "clip_radius")}
    triplets = {"k_may_equal_i": conf("protocol/corrected.yaml")["protocol"]["k_may_equal_i"]}
    assert values.pop("name") == "hier"
    rest = {"seed": 0, "generator": None}
    assert defaults(losses.HIERLoss) == values | ball | triplets | rest
    assert defaults(losses.to_ball) == ball | {"riemannian": True}
    assert defaults(losses.HypLoss)["curvature"] == ball["curvature"]


@pytest.fixture(scope="module")
def run():
    return next(run for run in compose(["suite=smoke"], CONF).runs.values() if run.method == "hier")


def objective(run, name, seed, geometry="poincare"):
    """Of a run with HIER on a loss, at the values of conf/."""
    values = conf(f"loss/{name}.yaml")
    values = values.get("loss", values)
    changes = {
        "seed": seed,
        "head": run.head.model_copy(
            update={"dim": DIM} | ({} if geometry == "poincare" else {"curvature": 0.0})
        ),
        "loss": LOSSES.module(values["name"]).Settings(**values),
        "regularizer": run.regularizer.model_copy(update=HIER | {"geometry": geometry}),
    }
    return Objective(run.model_copy(update=changes), CLASSES)


def check_same(metric, hier, theirs, embeddings, labels, seed):
    """Values and gradients of two batches: at the second the generators have gone on."""
    draws = Generators(seed, torch.device("cpu")).regularizer
    for _ in range(2):
        a, b = (embeddings.clone().requires_grad_() for _ in range(2))
        terms, made = theirs(a, labels, draws), (metric(b, labels), hier(b, labels))
        assert [term.item() for term in terms.values()] == [value.item() for value in made]
        sum(terms.values()).backward()
        sum(made).backward()
        assert torch.equal(a.grad, b.grad)
        assert a.grad.abs().sum() > 0
    gradients = [p.grad for part in (metric, hier) for p in part.parameters()]
    expected = [p.grad for p in theirs.parameters()]
    assert len(gradients) == len(expected)
    assert all(map(torch.equal, gradients, expected))


@pytest.mark.parametrize("name", BY_NAME)
def test_values_and_gradients_are_those_of_a_run(run, name):
    seed = {"seed": 5} if "seed" in defaults(BY_NAME[name]) else {}
    metric, hier = BY_NAME[name](**sizes(BY_NAME[name]), **seed), losses.HIERLoss(DIM, seed=5, **HIER)
    check_same(metric, hier, objective(run, name, 5), *batch(), 5)


@pytest.mark.parametrize("geometry", ["euclidean", "spherical"])
def test_flat_values_and_gradients_are_those_of_a_run(run, geometry):
    values, (z, labels) = conf("loss/hyp_sphere.yaml"), batch()
    metric = losses.HypLoss(curvature=0.0, temperature=values["loss"]["temperature"])
    hier = losses.HIERLoss(DIM, geometry=geometry, curvature=0.0, **HIER)
    assert values["head"] == {"curvature": 0.0}
    check_same(metric, hier, objective(run, "hyp_sphere", 0, geometry), 30 * z, labels, 0)


def test_half_precision_is_computed_in_float32_and_double_in_double():
    z, labels = batch()
    for make in (lambda: losses.HIERLoss(DIM, **HIER), losses.HypLoss, losses.MultiSimilarityLoss):
        half = z.bfloat16()
        assert make()(half, labels).dtype == torch.float32
        assert make()(half, labels).item() == make()(half.float(), labels).item()
        assert make()(z.double(), labels).dtype == torch.float64


def test_the_generator_that_is_given_is_the_one_that_is_drawn_from():
    z, labels = batch()
    hier, draws = losses.HIERLoss(DIM, generator=generator(9), **HIER), generator(9)
    expected = 0.5 * hier.regularizer(z, labels, draws)
    assert hier(z, labels).item() == expected.item()
    assert torch.equal(hier.generator.get_state(), draws.get_state())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_copy_goes_on_alike(again):
    z, labels = batch()
    hier = losses.HIERLoss(DIM, **HIER)
    first = hier(z, labels).item()
    copied = again(hier)
    second = hier(z, labels).item()
    assert copied(z, labels).item() == second != first


@pytest.mark.parametrize("make", [lambda: losses.HIERLoss(DIM, **HIER), losses.HypLoss])
@pytest.mark.parametrize("value", [1.0, torch.nan])
def test_what_is_not_on_the_ball_is_refused(make, value):
    z, labels = batch()
    z[3, 0] = value / 0.1**0.5  # the boundary
    with pytest.raises(ValueError, match=r"on the ball of curvature 0\.1: map them there with to_ball"):
        make()(z, labels)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: losses.HIERLoss(DIM, neighbours=1), "neighbours"),
        (lambda: losses.HIERLoss(DIM, curvature=0.0), "geometry"),
        (lambda: losses.HypLoss(temperature=0.0), "temperature"),
        (lambda: losses.SoftTripleLoss(CLASSES, DIM, centers=0), "centers"),
        (lambda: losses.XBMLoss(DIM, positive_similarity=1.5), "positive_similarity"),
    ],
)
def test_an_argument_out_of_its_range_is_refused(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_a_run_pays_nothing_for_them():
    """The package is imported with every loss: it loads none of this before it is asked for it."""
    code = (
        "import sys, hier.losses as losses; assert 'HIERLoss' in dir(losses)\n"
        "assert not {'torch', 'pydantic', 'hier.losses.plain'} & set(sys.modules)\n"
        "assert losses.HIERLoss.__module__ == 'hier.losses.plain' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_it_has_not_is_an_attribute_error():
    assert not hasattr(losses, "TripletLoss")
