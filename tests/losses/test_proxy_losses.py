"""ProxyNCA++, SoftTriple and normalised softmax against their papers' formulas, written plainly."""

import math

import pytest
import torch

from hier.registry import LOSSES

CLASSES, DIM, CENTERS = 6, 8, 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(name, seed, dim, classes, **settings):
    loss = LOSSES.module(name)
    settings = loss.Settings(name=name, **settings)
    return loss.build(settings, dim=dim, num_classes=classes, generator=generator(seed))


def pnca(seed=0, classes=CLASSES, dim=DIM, scale=9.0):
    return made("pnca", seed, dim, classes, scale=scale)


def softtriple(seed=0, classes=CLASSES, dim=DIM, la=20.0, gamma=0.1, margin=0.01):
    settings = {"centers": CENTERS, "la": la, "gamma": gamma, "margin": margin}
    return made("softtriple", seed, dim, classes, **settings)


def nsoftmax(seed=0, classes=CLASSES, dim=DIM, temperature=0.05):
    return made("nsoftmax", seed, dim, classes, temperature=temperature)


ALL = pytest.mark.parametrize("make", [pnca, softtriple, nsoftmax])


def batch(seed=1, dtype=torch.float64):
    z = torch.randn(14, DIM, generator=generator(seed), dtype=torch.float64).to(dtype)
    return z, torch.randint(CLASSES, (14,), generator=generator(seed + 1))


def unit(v):
    return v / v.square().sum().sqrt()


def plain_pnca(z, labels, proxies, scale=9.0):
    """Equation 6 of ProxyNCA++: −log of e^(−d/T) to the own proxy over the sum over all proxies."""
    total = 0.0
    for x, y in zip(z, labels, strict=True):
        weights = [torch.exp(-scale * (unit(x) - unit(p)).square().sum()) for p in proxies]
        total = total - torch.log(weights[y] / sum(weights))
    return total / len(z)


def plain_softtriple(z, labels, fc, la=20.0, gamma=0.1, margin=0.01):
    """Equations 7 and 8 of SoftTriple."""
    centres = fc.T.reshape(CLASSES, CENTERS, DIM)
    total = 0.0
    for x, y in zip(z, labels, strict=True):
        weights = []
        for c in range(CLASSES):
            s = torch.stack([unit(x) @ unit(w) for w in centres[c]])
            shares = torch.exp(s / gamma) / torch.exp(s / gamma).sum()
            weights.append(torch.exp(la * ((shares * s).sum() - margin * float(c == y))))
        total = total - torch.log(weights[y] / sum(weights))
    return total / len(z)


def plain_nsoftmax(z, labels, w, temperature=0.05):
    """Equation 3 of Zhai and Wu."""
    total = 0.0
    for x, y in zip(z, labels, strict=True):
        weights = [torch.exp((unit(x) @ unit(p)) / temperature) for p in w.T]
        total = total - torch.log(weights[y] / sum(weights))
    return total / len(z)


CASES = [
    (pnca, plain_pnca, {}),
    (pnca, plain_pnca, {"scale": 3.0}),
    (softtriple, plain_softtriple, {}),
    (softtriple, plain_softtriple, {"la": 7.0, "gamma": 0.5, "margin": 0.3}),
    (nsoftmax, plain_nsoftmax, {}),
    (nsoftmax, plain_nsoftmax, {"temperature": 0.4}),
]


@pytest.mark.parametrize(("make", "plain", "settings"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradients_are_the_papers(make, plain, settings, dtype):
    loss = make(**settings).to(dtype)
    z, labels = batch(dtype=dtype)
    z.requires_grad_()
    value = loss(z, labels)
    expected = plain(z, labels, loss.proxies, **settings)
    assert value.dtype == dtype
    rtol, atol = {torch.float32: (1e-3, 1e-5), torch.float64: (1e-9, 1e-12)}[dtype]
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)
    ours = torch.autograd.grad(value, [z, loss.proxies])
    theirs = torch.autograd.grad(expected, [z, loss.proxies])
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().max() > 1e-4
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@ALL
def test_proxies_come_from_their_generator_alone(make):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    loss = make()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(loss.proxies, make().proxies)
    assert not torch.equal(loss.proxies, make(seed=1).proxies)
    assert loss.proxies.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "shape", "std"),
    [
        (pnca, (200, 64), 1.0),
        (softtriple, (64, 200 * CENTERS), 1 / math.sqrt(3 * 200 * CENTERS)),
        (nsoftmax, (64, 200), 1.0),
    ],
)
def test_initial_proxies_are_as_in_the_library(make, shape, std):
    proxies = make(classes=200, dim=64).proxies
    assert proxies.shape == shape
    assert proxies.mean().item() == pytest.approx(0.0, abs=0.05 * std)
    assert proxies.std().item() == pytest.approx(std, rel=0.02)


@ALL
def test_the_only_parameter_is_the_proxies(make):
    loss = make()
    assert [id(p) for p in loss.parameters()] == [id(loss.proxies)]
    assert len(loss.state_dict()) == 1


@ALL
def test_loss_sees_only_the_direction(make):
    loss, (z, labels) = make(), batch(dtype=torch.float32)
    torch.testing.assert_close(loss(3.0 * z, labels), loss(z, labels))


@ALL
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_changes_nothing(make, half):
    loss, (z, labels) = make(), batch(dtype=torch.float32)
    plain = loss(z, labels)
    with torch.autocast("cpu", dtype=half):
        cast = loss(z, labels)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)
    assert torch.equal(loss(z.to(half), labels), loss(z.to(half).float(), labels))
    assert loss.proxies.dtype == torch.float32
