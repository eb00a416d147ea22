"""The plain side of the benchmark is the fast one, in value and gradient; a missed bound is the exit."""

import pytest
import torch

import baselines
import regularizer
from hier.geometry.poincare import distance_matrix, exp0
from hier.losses.ancestors import gumbel
from hier.losses.hier import HierRegularizer
from hier.losses.triplets import reciprocal_neighbours, sample_triplets


def module(seed, **changes):
    settings = {
        "curvature": 0.1, "clip_radius": 2.3, "neighbours": 6, "triplets_per_anchor": 10,
        "temperature": 0.1, "margin": 0.1,
    } | changes  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    return HierRegularizer(40, 16, **settings, generator=generator).double()


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    return exp0(u, 0.1, 2.3).requires_grad_(), torch.arange(24) // 4


def same_draws(hier, z, labels, generator):
    """What the fast one draws, term by term."""
    proxies = exp0(hier.proxies, hier.curvature, hier.clip_radius).detach()
    z = z.detach()
    data = torch.exp(-distance_matrix(z, z, hier.curvature)) + (labels[:, None] == labels)
    between = torch.exp(-distance_matrix(proxies, proxies, hier.curvature))
    for similarity in (data, between):
        related = reciprocal_neighbours(similarity, hier.neighbours)
        triplets = sample_triplets(related, hier.triplets_per_anchor, generator)
        noise = gumbel(len(proxies), generator, torch.float64, z.device)
        whole = noise(len(triplets[0]))
        yield triplets, lambda n, whole=whole: whole[:n]


@pytest.mark.parametrize("changes", [{}, {"temperature": 1.0, "margin": 0.5}, {"curvature": 0.5}])
@pytest.mark.parametrize("seed", range(3))
def test_the_fast_one_is_the_plain_one(seed, changes):
    hier, (z, labels) = module(seed, **changes), batch(seed)
    with torch.no_grad():
        z *= (0.1 / hier.curvature) ** 0.5
    given = tuple(same_draws(hier, z, labels, torch.Generator().manual_seed(9)))
    found = []
    for loss in (
        hier(z, labels, torch.Generator().manual_seed(9)),
        baselines.regularizer(hier, z, labels, torch.Generator(), given),
    ):
        found.append((loss.detach(), *torch.autograd.grad(loss, [z, hier.proxies])))
    for ours, theirs in zip(*found, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_plain_draws_obey_the_law():
    hier, (z, labels) = module(0), batch(0)
    similarity = torch.exp(-distance_matrix(z.detach(), z.detach(), 0.1)) + (labels[:, None] == labels)
    related = reciprocal_neighbours(similarity, 6)
    (i, j, k), noise = baselines.draw(hier, similarity, torch.Generator().manual_seed(1))
    expected = sample_triplets(related, 10, torch.Generator())[0]
    assert torch.equal(i, expected)
    assert related[i, j].all()
    assert not related[i, k].any()
    assert (i != k).all()
    assert noise(3).shape == (3, 2, 40)


@pytest.mark.parametrize(("seconds", "share", "code"), [(7, 9, 0), (2, 9, 1), (7, 3, 1)])
def test_a_missed_bound_is_the_exit_status(monkeypatch, capsys, seconds, share, code):
    took = {"plain": float(seconds), "hier": 1.0}
    peaks = {"plain": 10**9, "hier": 10**9 // share}
    monkeypatch.setattr(
        regularizer.Turns,
        "note",
        lambda self, name, work, share=1.0: self.seconds.setdefault(name, []).append(took[name]),
    )
    monkeypatch.setattr(regularizer, "memory_of", peaks.get)
    monkeypatch.setattr(regularizer, "made_up", lambda batch, proxies: (module(0), *batch_of_24()))
    with pytest.raises(SystemExit) as exit_status:
        regularizer.main(["--quick"])
    assert exit_status.value.code == code
    assert f"| plain / hier | {seconds:.2f} |" in capsys.readouterr().out


def batch_of_24():
    return batch(0)


def test_without_any_triplet_the_plain_one_is_a_differentiable_zero():
    hier, (z, labels) = module(0, neighbours=40), batch(0)
    loss = baselines.regularizer(hier, z, labels * 0, torch.Generator())
    assert loss.item() == hier(z, labels * 0, torch.Generator()).item() == 0.0
    assert (torch.autograd.grad(loss, z)[0] == 0).all()
