"""The HIER regulariser from its parts, against brute force, and at its edges."""

import subprocess
import sys

import pytest
import torch

from fakes.losses import generator, loop_loss
from hier.geometry.poincare import distance_matrix, exp0
from hier.losses.ancestors import gumbel, lca_triplet_loss
from hier.losses.hier import HierRegularizer
from hier.losses.triplets import reciprocal_neighbours, sample_triplets


def regularizer(seed=0, **changes):
    settings = {
        "num_proxies": 32,
        "dim": 16,
        "curvature": 0.1,
        "clip_radius": 2.3,
        "neighbours": 6,
        "triplets_per_anchor": 10,
        "temperature": 0.1,
        "margin": 0.1,
    }
    return HierRegularizer(**(settings | changes), generator=generator(seed))


def batch(seed=0, dtype=torch.float32):
    u = torch.randn(24, 16, generator=generator(seed), dtype=torch.float64).to(dtype)
    return exp0(u, 0.1, 2.3), torch.arange(24) // 4


def test_module_is_the_sum_of_the_two_terms():
    """The module, step by step from its public parts with the same draws."""
    module, (z, labels) = regularizer(), batch()
    draws = generator(5)
    proxies = exp0(module.proxies, 0.1, 2.3)
    same_class = (labels[:, None] == labels[None, :]).float()
    expected = 0.0
    for similarity, distances in (
        (torch.exp(-distance_matrix(z, z, 0.1)) + same_class, distance_matrix(z, proxies, 0.1)),
        (
            torch.exp(-distance_matrix(proxies, proxies, 0.1)),
            distance_matrix(proxies, proxies, 0.1),
        ),
    ):
        triplets = sample_triplets(reciprocal_neighbours(similarity, 6), 10, draws)
        assert len(triplets[0]) > 0
        noise = gumbel(32, draws, torch.float32, torch.device("cpu"))
        expected = expected + lca_triplet_loss(distances, triplets, noise, 0.1, 0.1)
    assert module(z, labels, generator(5)).item() == pytest.approx(expected.item(), rel=1e-6)


def flat_batch(dtype=torch.float64):
    return torch.randn(24, 16, generator=generator(3), dtype=torch.float64).to(dtype), (torch.arange(24) // 4)


def brute_distances(x, y, geometry):
    """Distance by distance, angles from chords."""
    if geometry == "spherical":
        x, y = (v / v.norm(dim=1, keepdim=True) for v in (x, y))
    chords = [[(a - b).square().sum().clamp_min(1e-30).sqrt() for b in y] for a in x]
    chords = torch.stack([torch.stack(row) for row in chords])
    return 2 * torch.asin(chords / 2) if geometry == "spherical" else chords


def brute_loss(module, z, labels, draws, geometry, proxy_term, clip_radius=2.3):
    """The regulariser of a flat geometry with plain distances and the loop over triplets."""
    proxies = torch.stack([p * (clip_radius / p.norm()).clamp_max(1.0) for p in module.proxies])
    same_class = (labels[:, None] == labels[None, :]).double()
    cases = [(torch.exp(-brute_distances(z, z, geometry).detach()) + same_class, z)]
    if proxy_term:
        cases.append((torch.exp(-brute_distances(proxies, proxies, geometry).detach()), proxies))
    total = 0.0
    for similarity, points in cases:
        triplets = sample_triplets(reciprocal_neighbours(similarity, 6), 10, draws)
        assert len(triplets[0]) > 0
        noise = gumbel(32, draws, torch.float64, torch.device("cpu"))(len(triplets[0])).unbind(1)
        distances = brute_distances(points, proxies, geometry)
        total = total + loop_loss(distances, triplets, *noise, 0.1, 0.1)
    return total


@pytest.mark.parametrize("proxy_term", [True, False])
@pytest.mark.parametrize("geometry", ["euclidean", "spherical"])
def test_flat_geometries_equal_brute_force(geometry, proxy_term):
    module = regularizer(geometry=geometry, curvature=0.0, proxy_term=proxy_term).double()
    with torch.no_grad():
        module.proxies *= torch.linspace(0.5, 1.5, 32)[:, None]  # some inside the clip radius
    z, labels = flat_batch()
    z.requires_grad_()
    value = module(z, labels, generator(5))
    expected = brute_loss(module, z, labels, generator(5), geometry, proxy_term)
    torch.testing.assert_close(value, expected)
    ours, theirs = (torch.autograd.grad(v, [z, module.proxies]) for v in (value, expected))
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("geometry", ["euclidean", "spherical"])
def test_flat_geometries_give_finite_gradients_to_all_even_when_collapsed(geometry):
    module = regularizer(geometry=geometry, curvature=0.0)
    z, labels = flat_batch(torch.float32)
    for points in (z, torch.ones_like(z)):
        points = points.clone().requires_grad_()
        module.proxies.grad = None
        loss = module(points, labels, generator(1))
        loss.backward()
        assert loss.dtype == torch.float32
        assert torch.isfinite(points.grad).all()
        assert torch.isfinite(module.proxies.grad).all()
        assert module.proxies.grad.abs().max() > 0


def test_geometries_differ_and_the_sphere_sees_no_norms():
    z, labels = flat_batch(torch.float32)
    flat, sphere = (regularizer(geometry=g, curvature=0.0) for g in ("euclidean", "spherical"))
    values = [module(z, labels, generator(1)).item() for module in (flat, sphere)]
    assert values[0] != pytest.approx(values[1], rel=1e-3)
    assert sphere(3 * z, labels, generator(1)).item() == pytest.approx(values[1], rel=1e-5)
    assert flat(3 * z, labels, generator(1)).item() != pytest.approx(values[0], rel=1e-3)


def test_without_the_proxy_term_only_the_data_term_is_left():
    z, labels = batch()
    whole, alone = generator(5), generator(5)
    with_proxies = regularizer()(z, labels, whole)
    data_term = regularizer(proxy_term=False)(z, labels, alone)
    assert 0 < data_term.item() < with_proxies.item()
    assert not torch.equal(whole.get_state(), alone.get_state())  # the second term's draws
    # draws of the data term alone: a second call goes on where the first ended
    draws = generator(5)
    proxies = exp0(regularizer().proxies, 0.1, 2.3)
    same_class = (labels[:, None] == labels[None, :]).float()
    related = reciprocal_neighbours(torch.exp(-distance_matrix(z, z, 0.1)) + same_class, 6)
    triplets = sample_triplets(related, 10, draws)
    noise = gumbel(len(proxies), draws, torch.float32, torch.device("cpu"))
    expected = lca_triplet_loss(distance_matrix(z, proxies, 0.1), triplets, noise, 0.1, 0.1)
    assert data_term.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(draws.get_state(), alone.get_state())


def test_the_module_passes_k_may_equal_i_on():
    """With every pair related, k = i is all that is left: no triplets without, some with it."""
    z, labels = batch()
    settings = {"neighbours": 40, "margin": 0.1}
    assert regularizer(**settings)(z, labels * 0, generator()).item() == 0.0
    assert regularizer(**settings, k_may_equal_i=True)(z, labels * 0, generator()).item() > 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curvature": 0.0}, "curvature 0.0 does not go with geometry poincare"),
        ({"geometry": "euclidean"}, "curvature 0.1 does not go with geometry euclidean"),
        ({"geometry": "spherical"}, "curvature 0.1 does not go with geometry spherical"),
        ({"geometry": "lorentz"}, "geometry must be .*, got 'lorentz'"),
        ({"clip_radius": 0.0}, "clip_radius must be > 0, got 0.0"),
    ],
)
def test_arguments_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        regularizer(**changes)


def test_gradients_reach_embeddings_and_proxies():
    module, (z, labels) = regularizer(), batch()
    z.requires_grad_()
    module(z, labels, generator(1)).backward()
    for grad in (z.grad, module.proxies.grad):
        assert torch.isfinite(grad).all()
        assert grad.abs().max() > 0


def test_module_follows_its_generators():
    z, labels = batch()
    a, b = regularizer(3), regularizer(3)
    assert torch.equal(a.proxies, b.proxies)
    assert not torch.equal(a.proxies, regularizer(4).proxies)
    assert a(z, labels, generator(1)).item() == b(z, labels, generator(1)).item()
    assert a(z, labels, generator(1)).item() != a(z, labels, generator(2)).item()


def test_class_labels_matter():
    module, (z, labels) = regularizer(), batch()
    shuffled = labels[torch.randperm(24, generator=generator(8))]
    assert module(z, labels, generator(1)).item() != module(z, shuffled, generator(1)).item()


def test_proxies_start_near_nine_tenths_of_the_clip_radius():
    proxies = regularizer(num_proxies=512, dim=128).proxies
    assert proxies.shape == (512, 128)
    assert proxies.dtype == torch.float32
    assert proxies.norm(dim=1).mean().item() == pytest.approx(0.9 * 2.3, rel=0.01)
    assert proxies.std().item() == pytest.approx(0.9 * 2.3 / 128**0.5, rel=0.02)


def test_batch_of_one_class_leaves_only_the_proxy_term():
    module = regularizer(neighbours=40)  # every pair is related: no unrelated point anywhere
    z, labels = batch()
    z.requires_grad_()
    loss = module(z, torch.zeros_like(labels), generator())
    assert loss.item() == 0.0
    loss.backward()
    assert (z.grad == 0).all()
    assert (module.proxies.grad == 0).all()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(half):
    module, (z, labels) = regularizer(), batch()
    plain = module(z, labels, generator(1))
    with torch.autocast("cpu", dtype=half):
        cast = module(z, labels, generator(1))
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


def test_collapsed_embeddings_give_finite_gradients():
    module = regularizer()
    u = torch.ones(24, 16, requires_grad=True)
    module(exp0(u, 0.1, 2.3), torch.arange(24) // 4, generator()).backward()
    assert torch.isfinite(u.grad).all()
    assert torch.isfinite(module.proxies.grad).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_with_generators_of_either_device():
    module, (z, labels) = regularizer(), batch()
    expected = module(z, labels, generator(1)).item()
    module, z, labels = module.cuda(), z.cuda().requires_grad_(), labels.cuda()
    assert module(z, labels, generator(1)).item() == pytest.approx(expected, rel=1e-3)
    module(z, labels, torch.Generator("cuda").manual_seed(1)).backward()
    assert torch.isfinite(z.grad).all()


def test_importing_the_regulariser_does_not_import_metric_learning():
    code = "import sys, hier.losses.hier; sys.exit('pytorch_metric_learning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
