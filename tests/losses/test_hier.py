"""The HIER regulariser against the official code, a plain loop, and the laws of its sampling."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hier.geometry.poincare import distance_matrix, exp0
from hier.losses.hier import (
    HierRegularizer,
    gumbel,
    lca_triplet_loss,
    reciprocal_neighbours,
    sample_triplets,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "hier_loss.npz"
BOTH_DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def golden():
    with np.load(GOLDEN) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


def relative(actual, expected):
    return float((actual.double() - expected).norm() / expected.norm())


# --- official code ---------------------------------------------------------------------------


def official_term(g, name, distances):
    triplets = tuple(g[f"{name}_{role}"] for role in ("anchor", "related", "unrelated"))
    pair, triplet = (g[f"{name}_gumbel_{which}"].to(distances) for which in ("pair", "triplet"))
    return lca_triplet_loss(distances, triplets, pair, triplet, float(g["tau"]), float(g["margin"]))


@BOTH_DTYPES
def test_loss_and_gradients_are_the_official_ones(golden, dtype):
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
def test_related_pairs_are_the_official_ones(golden, dtype):
    c, k = float(golden["c"]), int(golden["topk"])
    z, proxies = golden["z"].to(dtype), golden["proxies_ball"].to(dtype)
    same_class = golden["labels"][:, None] == golden["labels"][None, :]
    data = reciprocal_neighbours(torch.exp(-distance_matrix(z, z, c)) + same_class, k)
    assert torch.equal(data, golden["reciprocal_data"])
    between = reciprocal_neighbours(torch.exp(-distance_matrix(proxies, proxies, c)), k)
    assert torch.equal(between, golden["reciprocal_proxies"])


# --- reciprocal neighbours ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 5, 12, 30])
def test_reciprocal_neighbours_by_definition(seed, k):
    x = torch.randn(12, 3, generator=generator(seed), dtype=torch.float64)
    similarity = torch.exp(-torch.cdist(x, x))
    related = reciprocal_neighbours(similarity, k)
    rank = similarity.argsort(1, descending=True).argsort(1)
    for i in range(12):
        for j in range(12):
            assert related[i, j] == (i != j and rank[i, j] < k and rank[j, i] < k)


def test_neighbours_must_be_positive():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        reciprocal_neighbours(torch.eye(3), 0)


# --- triplets ------------------------------------------------------------------------------------


@pytest.fixture
def related():
    """12 points. 0 is related to one point, 1 to none, 2 to all others; the rest to 3 to 9."""
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[0, 3] = True
    mask[2] = True
    for row in range(3, 12):
        mask[row, : row - 1] = True
    return mask.fill_diagonal_(False)


def test_triplets_obey_the_law(related):
    i, j, k = sample_triplets(related, 50, generator())
    assert all(index.dtype == torch.int64 and index.shape == (9 * 50,) for index in (i, j, k))
    assert torch.equal(i, torch.arange(3, 12).repeat_interleave(50))
    assert related[i, j].all()
    assert not related[i, k].any()
    assert (k != i).all()


def test_triplets_are_uniform_with_replacement(related):
    draws = 20_000
    i, j, k = sample_triplets(related, draws, generator(7))
    chi_square, degrees = 0.0, 0
    for row in range(3, 12):
        unrelated = ~related[row]
        unrelated[row] = False
        for drawn, allowed in ((j[i == row], related[row]), (k[i == row], unrelated)):
            counts = torch.bincount(drawn, minlength=12)
            assert (counts[~allowed] == 0).all()
            expected = draws / int(allowed.sum())
            chi_square += float(((counts[allowed] - expected) ** 2 / expected).sum())
            degrees += int(allowed.sum()) - 1
    assert degrees == 81
    assert chi_square < 112.0  # passed by 99 % of uniform samplers


def test_triplets_follow_their_generator_alone(related):
    first = sample_triplets(related, 50, generator(3))
    torch.manual_seed(99)
    again = sample_triplets(related, 50, generator(3))
    other = sample_triplets(related, 50, generator(4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])
    state = generator(3)
    sample_triplets(related, 50, state)
    assert not torch.equal(sample_triplets(related, 50, state)[1], first[1])


def test_sampling_leaves_the_mask_and_the_global_generator_alone(related):
    before, state = related.clone(), torch.get_rng_state()
    sample_triplets(related, 5, generator())
    gumbel((3, 4), generator(), torch.float32, torch.device("cpu"))
    assert torch.equal(before, related)
    assert torch.equal(state, torch.get_rng_state())


def test_k_may_be_i_where_that_is_asked_for(related):
    """Uniform over all that is not related, i among them: the official code's law."""
    draws = 20_000
    i, j, k = sample_triplets(related, draws, generator(7), k_may_equal_i=True)
    assert related[i, j].all()
    assert not related[i, k].any()
    # row 2 is related to all others, so that only k = 2 is left to it
    assert torch.equal(i, torch.arange(2, 12).repeat_interleave(draws))
    assert (k[i == 2] == 2).all()
    for row in range(3, 12):
        share = float((k[i == row] == row).double().mean())
        assert share == pytest.approx(1 / (12 - int(related[row].sum())), abs=0.02)


def test_by_default_k_is_never_i_and_the_draws_are_as_before(related):
    default = sample_triplets(related, 50, generator(3))
    spelt_out = sample_triplets(related, 50, generator(3), k_may_equal_i=False)
    assert all(torch.equal(a, b) for a, b in zip(default, spelt_out, strict=True))
    i, j, k = default
    assert (i != k).all()
    # the law of the draws: one uniform number for each j, then one for each k, in float64
    draws, rows = generator(3), torch.arange(3, 12)
    for drawn, allowed in ((j, related), (k, ~related & ~torch.eye(12, dtype=torch.bool))):
        uniform = torch.rand((9, 50), generator=draws, dtype=torch.float64)
        for row, numbers in zip(rows.tolist(), uniform, strict=True):
            columns = allowed[row].nonzero().squeeze(1)
            assert torch.equal(drawn[i == row], columns[(numbers * len(columns)).long()])


@pytest.mark.parametrize("mask", [torch.zeros(5, 5), torch.ones(5, 5) - torch.eye(5)])
def test_no_anchor_no_triplets(mask):
    assert all(index.shape == (0,) for index in sample_triplets(mask.bool(), 50, generator()))


@BOTH_DTYPES
def test_gumbel_noise(dtype):
    noise = gumbel((400, 500), generator(1), dtype, torch.device("cpu"))
    assert noise.shape == (400, 500)
    assert noise.dtype == dtype
    assert torch.isfinite(noise).all()
    # mean: Euler's constant; variance: π²/6; median: −log log 2; standard errors below 0.003
    assert noise.mean().item() == pytest.approx(0.57722, abs=0.02)
    assert noise.var().item() == pytest.approx(1.64493, abs=0.04)
    assert noise.median().item() == pytest.approx(0.36651, abs=0.02)
    assert torch.equal(noise, gumbel((400, 500), generator(1), dtype, torch.device("cpu")))


# --- loss ----------------------------------------------------------------------------------------


def loop_loss(distances, triplets, pair_noise, triplet_noise, temperature, margin):
    """The loss triplet by triplet, with the textbook straight-through one-hot."""

    def choose(reach, noise):
        soft = torch.softmax((noise - reach / temperature), 0)
        hard = torch.zeros_like(soft)
        hard[int(soft.argmax())] = 1.0
        return hard - soft.detach() + soft, int(soft.argmax())

    terms = []
    for t, (i, j, k) in enumerate(zip(*(index.tolist() for index in triplets), strict=True)):
        pair_reach = torch.stack([distances[i], distances[j]]).amax(0)
        triplet_reach = torch.stack([distances[i], distances[j], distances[k]]).amax(0)
        pair, rho_ij = choose(pair_reach, pair_noise[t])
        triplet, rho_ijk = choose(triplet_reach, triplet_noise[t])
        hinges = [
            distances[i] @ pair - distances[i] @ triplet + margin,
            distances[j] @ pair - distances[j] @ triplet + margin,
            distances[k] @ triplet - distances[k] @ pair + margin,
        ]
        terms.append(sum(h.clamp_min(0.0) for h in hinges) * float(rho_ij != rho_ijk))
    return sum(terms) / len(terms)


def random_case(seed, n=9, p=7, t=40):
    g = generator(seed)
    distances = torch.rand(n, p, generator=g, dtype=torch.float64) * 2
    order = torch.stack([torch.randperm(n, generator=g) for _ in range(t)])
    noise = [gumbel((t, p), g, torch.float64, torch.device("cpu")) for _ in range(2)]
    return distances, tuple(order[:, :3].T), *noise


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("temperature", "margin"), [(0.1, 0.1), (1.0, 0.5), (0.5, 0.0)])
def test_loss_equals_the_loop(seed, temperature, margin):
    distances, *rest = random_case(seed)
    ours, theirs = (distances.clone().requires_grad_() for _ in range(2))
    loss = lca_triplet_loss(ours, *rest, temperature, margin)
    expected = loop_loss(theirs, *rest, temperature, margin)
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
    loss = lca_triplet_loss(distances, (i, j, k), no_noise, pick_second, 1.0, 4.5)
    assert loss.item() == pytest.approx((0 + (0.5 + 0.5 + 0.5)) / 2)


def test_forward_is_hard():
    """With a high temperature the soft choice is nearly uniform; the value must not see it."""
    distances, triplets, pair, triplet = random_case(2)
    loss = lca_triplet_loss(distances, triplets, pair, triplet, 100.0, 0.1)
    expected = loop_loss(distances, triplets, pair, triplet, 100.0, 0.1)
    torch.testing.assert_close(loss, expected)


def test_without_triplets_the_loss_is_a_differentiable_zero():
    distances = torch.rand(4, 3, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    noise = torch.zeros(0, 3)
    loss = lca_triplet_loss(distances, (none, none, none), noise, noise, 0.1, 0.1)
    assert loss.item() == 0.0
    assert loss.grad_fn is not None
    loss.backward()
    assert (distances.grad == 0).all()


# --- module --------------------------------------------------------------------------------------


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
        noise = [
            gumbel((len(triplets[0]), 32), draws, torch.float32, torch.device("cpu"))
            for _ in range(2)
        ]
        expected = expected + lca_triplet_loss(distances, triplets, *noise, 0.1, 0.1)
    assert module(z, labels, generator(5)).item() == pytest.approx(expected.item(), rel=1e-6)


def flat_batch(dtype=torch.float64):
    return torch.randn(24, 16, generator=generator(3), dtype=torch.float64).to(dtype), (
        torch.arange(24) // 4
    )


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
        noise = [
            gumbel((len(triplets[0]), 32), draws, torch.float64, torch.device("cpu"))
            for _ in range(2)
        ]
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
    shape = (len(triplets[0]), len(proxies))
    noise = [gumbel(shape, draws, torch.float32, torch.device("cpu")) for _ in range(2)]
    expected = lca_triplet_loss(distance_matrix(z, proxies, 0.1), triplets, *noise, 0.1, 0.1)
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
