"""Named generators: pure functions of (seed, name, position)."""

import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hier.seeding import numpy_generator, seed_for, torch_generator
from hier.training.state import Generators

SEEDS = st.integers(0, 2**32 - 1)
POSITIONS = st.lists(st.integers(0, 2**20), max_size=2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((0, "sampling", 3), 5725339654128343257), ((7, "network"), 2934936420859616221)],
)
def test_pinned_seeds(arguments, expected):
    assert seed_for(*arguments) == expected


def test_a_seed_is_numpys_mix_of_its_parts():
    words = np.random.SeedSequence([5, zlib.crc32(b"dropout"), 2, 9]).generate_state(1, np.uint64)
    assert seed_for(5, "dropout", 2, 9) == int(words[0]) >> 1


@settings(deadline=None, derandomize=True)
@given(SEEDS, st.text(max_size=20), POSITIONS)
def test_seeds_are_pure_and_fit_63_bits(seed, name, position):
    np.random.seed(0)
    torch.manual_seed(0)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    drawn = seed_for(seed, name, *position)
    assert drawn == seed_for(seed, name, *position)
    assert 0 <= drawn < 2**63
    assert isinstance(drawn, int)
    assert (np.random.get_state()[1] == states[0]).all()
    assert torch.equal(torch.get_rng_state(), states[1])


PURPOSES = [
    "sampling", "augmentation", "network", "dropout", "regularizer", "metric proxies",
    "hierarchical proxies",
]  # fmt: skip


def test_seeds_names_and_positions_all_matter():
    keys = [
        (seed, name, epoch, image)
        for seed in range(4)
        for name in PURPOSES
        for epoch in range(5)
        for image in range(30)
    ]
    assert len({seed_for(*key) for key in keys}) == len(keys)


@settings(deadline=None, derandomize=True)
@given(SEEDS, SEEDS, POSITIONS)
def test_no_two_seeds_agree(one, other, position):
    same = seed_for(one, "sampling", *position) == seed_for(other, "sampling", *position)
    assert same == (one == other)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=2), st.permutations([0, 1]))
def test_the_order_of_a_position_matters(position, order):
    turned = [position[i] for i in order]
    same = seed_for(0, "augmentation", *position) == seed_for(0, "augmentation", *turned)
    assert same == (position == turned)


def test_seeds_beyond_32_bits_are_seeds_of_their_own():
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**64, 2**64 + 1]
    assert len({seed_for(seed, "sampling", 3) for seed in seeds}) == len(seeds)


def test_numpys_generator_is_seeded_by_its_purpose():
    expected = np.random.default_rng(seed_for(1, "sampling", 2)).random(5)
    np.testing.assert_array_equal(numpy_generator(1, "sampling", 2).random(5), expected)
    assert (numpy_generator(1, "sampling", 3).random(5) != expected).all()


def test_torchs_generator_is_seeded_by_its_purpose():
    expected = torch.rand(5, generator=torch.Generator().manual_seed(seed_for(1, "network", 2)))
    drawn = torch_generator(1, "network", 2)
    assert drawn.device == torch.device("cpu")
    assert torch.equal(torch.rand(5, generator=drawn), expected)
    assert not torch.equal(torch.rand(5, generator=torch_generator(2, "network", 2)), expected)


def test_two_generators_of_one_purpose_do_not_share_their_state():
    one, other = numpy_generator(0, "sampling"), numpy_generator(0, "sampling")
    first = one.random()
    assert other.random() == first
    first = torch.rand(1, generator=torch_generator(0, "sampling"))
    assert torch.equal(torch.rand(1, generator=torch_generator(0, "sampling")), first)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        seed_for(-1, "sampling")


def test_the_regularizer_draws_on_the_device(monkeypatch):
    """A card that waited for the CPU's draws at each step would stand still."""
    asked = []

    def generator(*position, device):
        asked.append(device)
        return torch.Generator()

    monkeypatch.setattr("hier.training.state.torch_generator", generator)
    Generators(0, torch.device("cuda"))
    assert asked == [torch.device("cuda")]
