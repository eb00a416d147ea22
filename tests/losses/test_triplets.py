"""Related pairs and triplets against their definitions and the official code's."""

import pytest
import torch

from fakes.losses import BOTH_DTYPES, generator, golden_hier
from hier.geometry.poincare import distance_matrix
from hier.losses.triplets import reciprocal_neighbours, sample_triplets


@BOTH_DTYPES
def test_related_pairs_are_the_official_ones(dtype):
    golden = golden_hier()
    c, k = float(golden["c"]), int(golden["topk"])
    z, proxies = golden["z"].to(dtype), golden["proxies_ball"].to(dtype)
    same_class = golden["labels"][:, None] == golden["labels"][None, :]
    data = reciprocal_neighbours(torch.exp(-distance_matrix(z, z, c)) + same_class, k)
    assert torch.equal(data, golden["reciprocal_data"])
    between = reciprocal_neighbours(torch.exp(-distance_matrix(proxies, proxies, c)), k)
    assert torch.equal(between, golden["reciprocal_proxies"])


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
