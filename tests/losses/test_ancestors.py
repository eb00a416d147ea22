"""The loss on lowest common ancestors against the official code and a plain loop."""

import pytest
import torch

from fakes.losses import BOTH_DTYPES, generator, golden_hier, loop_loss, noise_of
from hier.geometry.poincare import distance_matrix, exp0
from hier.losses import ancestors
from hier.losses.ancestors import gumbel, lca_triplet_loss

CPU = torch.device("cpu")


def relative(actual, expected):
    return float((actual.double() - expected).norm() / expected.norm())


def official_term(g, name, distances):
    triplets = tuple(g[f"{name}_{role}"] for role in ("anchor", "related", "unrelated"))
    pair, triplet = (g[f"{name}_gumbel_{which}"].to(distances) for which in ("pair", "triplet"))
    noise = noise_of(pair, triplet)
    return lca_triplet_loss(distances, triplets, noise, float(g["tau"]), float(g["margin"]))


@BOTH_DTYPES
def test_loss_and_gradients_are_the_official_ones(dtype):
    golden = golden_hier()
    c, clip_radius = float(golden["c"]), float(golden["clip_r"])
    z = golden["z"].to(dtype).requires_grad_()
    tangent = golden["proxies_tangent"].to(dtype).requires_grad_()
    proxies = exp0(tangent, c, clip_radius)
    assert relative(proxies.detach(), golden["proxies_ball"]) < 1e-4
    data_term = official_term(golden, "data", distance_matrix(z, proxies, c))
    proxy_term = official_term(golden, "proxy", distance_matrix(proxies, proxies, c))
    assert data_term.item() == pytest.approx(float(golden["loss_data"]), rel=1e-4)
    assert proxy_term.item() == pytest.approx(float(golden["loss_proxies"]), rel=1e-4)
    (data_term + proxy_term).backward()
    assert relative(z.grad, golden["grad_z"]) < 1e-3
    assert relative(tangent.grad, golden["grad_proxies_tangent"]) < 1e-3


@BOTH_DTYPES
def test_gumbel_noise(dtype):
    noise = gumbel(500, generator(1), dtype, CPU)(200)
    assert noise.shape == (200, 2, 500)
    assert noise.dtype == dtype
    assert torch.isfinite(noise).all()
    # mean: Euler's constant; variance: π²/6; median: −log log 2; standard errors below 0.003
    assert noise.mean().item() == pytest.approx(0.57722, abs=0.02)
    assert noise.var().item() == pytest.approx(1.64493, abs=0.04)
    assert noise.median().item() == pytest.approx(0.36651, abs=0.02)


@BOTH_DTYPES
def test_noise_follows_its_generator_however_it_is_asked_for(dtype):
    whole = gumbel(7, generator(1), dtype, CPU)(10)
    state = torch.get_rng_state()
    source = generator(1)
    noise = gumbel(7, source, dtype, CPU)
    assert torch.equal(torch.cat([noise(n) for n in (3, 1, 6)]), whole)
    assert not torch.equal(gumbel(7, source, dtype, CPU)(10), whole)  # the next stream
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_of_minus_infinity_is_never_chosen_and_gives_no_gradient():
    distances, triplets, *noise = random_case(1)
    shut = [torch.where(torch.arange(7) == 3, -torch.inf, each) for each in noise]
    low = [torch.where(torch.arange(7) == 3, -1e6, each) for each in noise]
    found = []
    for each in (shut, low):
        d = distances.clone().requires_grad_()
        loss = lca_triplet_loss(d, triplets, noise_of(*each), 0.1, 0.1)
        found.append((loss.detach(), *torch.autograd.grad(loss, d)))
    for a, b in zip(*found, strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)
    assert (found[0][1][:, 3] == 0).all()


def random_case(seed, n=9, p=7, t=40):
    g = generator(seed)
    distances = torch.rand(n, p, generator=g, dtype=torch.float64) * 2
    order = torch.stack([torch.randperm(n, generator=g) for _ in range(t)])
    noise = gumbel(p, g, torch.float64, torch.device("cpu"))(t)
    return distances, tuple(order[:, :3].T), *noise.unbind(1)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("temperature", "margin"), [(0.1, 0.1), (1.0, 0.5), (0.5, 0.0)])
def test_loss_equals_the_loop(seed, temperature, margin):
    distances, triplets, *noise = random_case(seed)
    ours, theirs = (distances.clone().requires_grad_() for _ in range(2))
    loss = lca_triplet_loss(ours, triplets, noise_of(*noise), temperature, margin)
    expected = loop_loss(theirs, triplets, *noise, temperature, margin)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    assert theirs.grad.abs().max() > 0
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_coinciding_ancestors_count_nothing_but_stay_in_the_mean():
    near, far = 1.0, 5.0
    distances = torch.tensor([[near, far], [near, far], [near, far], [far, near]])
    no_noise = torch.zeros(2, 2)
    i, j = torch.tensor([0, 0]), torch.tensor([1, 1])
    pick_second = torch.tensor([[0.0, 0.0], [0.0, 1e3]])
    # first triplet: both ancestors are candidate 0; second: the noise forces ρ_ijk to candidate 1
    k = torch.tensor([2, 3])
    loss = lca_triplet_loss(distances, (i, j, k), noise_of(no_noise, pick_second), 1.0, 4.5)
    assert loss.item() == pytest.approx((0 + (0.5 + 0.5 + 0.5)) / 2)


def test_forward_is_hard():
    """With a high temperature the soft choice is nearly uniform; the value must not see it."""
    distances, triplets, pair, triplet = random_case(2)
    loss = lca_triplet_loss(distances, triplets, noise_of(pair, triplet), 100.0, 0.1)
    expected = loop_loss(distances, triplets, pair, triplet, 100.0, 0.1)
    torch.testing.assert_close(loss, expected)


def test_without_triplets_the_loss_is_a_differentiable_zero():
    distances = torch.rand(4, 3, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    noise = torch.zeros(0, 3)
    loss = lca_triplet_loss(distances, (none, none, none), noise_of(noise, noise), 0.1, 0.1)
    assert loss.item() == 0.0
    assert loss.grad_fn is not None
    loss.backward()
    assert (distances.grad == 0).all()


@pytest.mark.parametrize("elements", [1, 7 * 3, 7 * 40])
def test_blocks_change_nothing(elements, monkeypatch):
    distances, triplets, *noise = random_case(4)
    found = []
    for size in (elements, 2**20):
        monkeypatch.setitem(ancestors.BLOCK_ELEMENTS, "cpu", size)
        d = distances.clone().requires_grad_()
        loss = lca_triplet_loss(d, triplets, noise_of(*noise), 0.1, 0.1)
        found.append((loss.detach(), *torch.autograd.grad(loss, d)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("seed", range(4))
def test_equal_distances_share_the_gradient_as_autograd_has_it(seed):
    """Whole numbers, so that many points are equally far from a candidate."""
    distances, triplets, *noise = random_case(seed)
    distances = (2 * distances).round()
    ours, theirs = (distances.clone().requires_grad_() for _ in range(2))
    lca_triplet_loss(ours, triplets, noise_of(*noise), 1.0, 0.5).backward()
    loop_loss(theirs, triplets, *noise, 1.0, 0.5).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_gradient_is_scaled_by_what_comes_from_above():
    distances, triplets, *noise = random_case(3)
    ours, theirs = (distances.clone().requires_grad_() for _ in range(2))
    (3 * lca_triplet_loss(ours, triplets, noise_of(*noise), 0.1, 0.1)).square().backward()
    (3 * loop_loss(theirs, triplets, *noise, 0.1, 0.1)).square().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_value_needs_no_gradient():
    distances, triplets, *noise = random_case(3)
    loss = lca_triplet_loss(distances, triplets, noise_of(*noise), 0.1, 0.1)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, loop_loss(distances, triplets, *noise, 0.1, 0.1))
