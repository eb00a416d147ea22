"""Hyp's pairwise cross-entropy against the official code and the two-view loss it is built from."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from hier.geometry.poincare import distance_matrix, exp0
from hier.losses.pairwise import PairwiseCrossEntropy

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(c):
    with np.load(GOLDEN / f"hyp_contrastive_c{c}.npz") as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


def batch(classes=5, n=3, c=0.1, seed=0, dtype=torch.float64):
    u = torch.randn(classes * n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = exp0(u, c, 2.3) if c > 0 else u
    return z.to(dtype), torch.arange(classes).repeat_interleave(n)


def plain_sum(z, classes, n, c, temperature):
    """Sum over the ordered pairs of slots of a two-view cross-entropy; classes in rows of n."""
    views = z.view(classes, n, -1)
    total = 0.0
    for s, t in itertools.permutations(range(n), 2):
        a, b = views[:, s], views[:, t]
        if c > 0:
            to_b, to_a = -distance_matrix(a, b, c), -distance_matrix(a, a, c)
        else:
            a, b = normalize(a), normalize(b)
            to_b, to_a = a @ b.T, a @ a.T
        to_a = to_a - 1e9 * torch.eye(classes, dtype=z.dtype)
        total = total + cross_entropy(torch.cat([to_b, to_a], 1) / temperature, torch.arange(classes))
    return total


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("c", [0.0, 0.1])
def test_value_and_gradient_are_the_official_ones(c, dtype):
    g = golden(c)
    z = g["z"].clone().to(dtype).requires_grad_()
    loss = PairwiseCrossEntropy(curvature=c, temperature=float(g["tau"]))(z, g["labels"])
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(float(g["loss"]), rel=1e-4)
    loss.backward()
    expected = g["grad_z"]
    if c == 0:
        # The official code takes unit vectors as given; the cosine has no gradient along them.
        expected = expected - (expected * g["z"]).sum(1, keepdim=True) * g["z"]
    assert float((z.grad - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.parametrize("c", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("classes", "n"), [(5, 2), (4, 3), (1, 2), (6, 5)])
def test_loss_is_the_sum_over_pairs_of_slots(c, classes, n):
    z, labels = batch(classes, n, c)
    z.requires_grad_()
    loss = PairwiseCrossEntropy(curvature=c, temperature=0.3, reduction="hyp")(z, labels)
    expected = plain_sum(z, classes, n, c, 0.3)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, z)[0] for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_reductions_differ_by_n_squared():
    z, labels = batch(n=4)
    hyp = PairwiseCrossEntropy(curvature=0.1, reduction="hyp")(z, labels)
    hier = PairwiseCrossEntropy(curvature=0.1, reduction="hier")(z, labels)
    assert hier.item() == pytest.approx(hyp.item() / 16)


def test_order_of_classes_is_free():
    """Any interleaving that keeps the order within the classes gives the same loss."""
    z, labels = batch(classes=5, n=3)
    loss = PairwiseCrossEntropy(curvature=0.1)
    slots_first = torch.arange(15).view(5, 3).T.flatten()
    for order in (slots_first, torch.cat([torch.arange(6, 15), torch.arange(6)])):
        torch.testing.assert_close(loss(z[order], labels[order]), loss(z, labels))
    torch.testing.assert_close(loss(z, 7 * labels - 3), loss(z, labels))


def test_gradients():
    for c in (0.0, 0.1):
        z, labels = batch(3, 2, c)
        assert torch.autograd.gradcheck(
            lambda z, c=c, labels=labels: PairwiseCrossEntropy(curvature=c)(z, labels),
            (z.requires_grad_(),),
        )


@pytest.mark.parametrize("c", [0.0, 0.1])
def test_identical_embeddings_give_a_finite_gradient(c):
    z = torch.full((6, 4), 0.5, requires_grad=True)
    loss = PairwiseCrossEntropy(curvature=c)(z, torch.arange(6) // 2)
    # every candidate is equally near: 2·3 − 1 of them, 2 terms of log 5, over n² = 4
    assert loss.item() == pytest.approx(2 * np.log(5) / 4, rel=1e-5)
    loss.backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("c", [0.0, 0.1])
def test_autocast_changes_nothing(c):
    z, labels = batch(c=c, dtype=torch.float32)
    plain = PairwiseCrossEntropy(curvature=c)(z, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = PairwiseCrossEntropy(curvature=c)(z, labels)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 1, 1, 1], "class 0 has 2 and class 1 has 3"),
        ([4, 7, 9], "class 4 has 1 and class 4 has 1"),
        ([0, 0, 1], "class 1 has 1 and class 0 has 2"),
    ],
)
def test_uneven_batches_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        PairwiseCrossEntropy(curvature=0.1)(torch.zeros(len(labels), 3), torch.tensor(labels))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curvature": -1.0}, "curvature.*-1"),
        ({"curvature": 0.1, "temperature": 0.0}, "temperature.*0"),
        ({"curvature": 0.1, "reduction": "mean"}, "reduction.*mean"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PairwiseCrossEntropy(**settings)
