"""Proxy-Anchor and Multi-Similarity against the official code."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hier.losses import ms, pa

GOLDEN = Path(__file__).parents[1] / "golden"
BOTH_DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def golden(name):
    with np.load(GOLDEN / name) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


def relative(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def proxy_anchor(num_classes=12, dim=16, seed=0):
    settings = pa.Settings(name="pa", margin=0.1, alpha=32.0)
    generator = torch.Generator().manual_seed(seed)
    return pa.build(settings, dim=dim, num_classes=num_classes, generator=generator)


def multi_similarity():
    return ms.build(ms.Settings(name="ms", alpha=2.0, beta=50.0, base=0.5))


def embeddings(n=20, dim=16):
    z = torch.randn(n, dim, generator=torch.Generator().manual_seed(1))
    return z, torch.arange(n) // 4


# The official values are float64 without any rounding of their own here.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}


@BOTH_DTYPES
def test_proxy_anchor_is_the_official_one(dtype):
    g = golden("proxy_anchor.npz")
    loss = proxy_anchor(int(g["num_classes"]), g["z"].shape[1]).to(dtype)
    with torch.no_grad():
        loss.proxies.copy_(g["proxies"])
    z = g["z"].to(dtype).requires_grad_()
    value = loss(z, g["labels"])
    assert value.dtype == dtype
    assert value.item() == pytest.approx(float(g["loss"]), rel=TOLERANCE[dtype])
    value.backward()
    assert relative(z.grad, g["grad_z"]) < 10 * TOLERANCE[dtype]
    assert relative(loss.proxies.grad, g["grad_proxies"]) < 10 * TOLERANCE[dtype]


@BOTH_DTYPES
def test_multi_similarity_is_the_official_one(dtype):
    g = golden("multi_similarity.npz")
    z = g["z"].to(dtype).requires_grad_()
    value = multi_similarity()(z, g["labels"])
    assert value.dtype == dtype
    assert value.item() == pytest.approx(float(g["loss"]), rel=TOLERANCE[dtype])
    value.backward()
    assert relative(z.grad, g["grad_z"]) < 10 * TOLERANCE[dtype]


def test_proxies_are_kaiming_normal_from_their_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    proxies = proxy_anchor(400, 64).proxies
    assert torch.equal(before, torch.get_rng_state())
    assert proxies.shape == (400, 64)
    assert proxies.dtype == torch.float32
    assert proxies.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert torch.equal(proxies, proxy_anchor(400, 64).proxies)
    assert not torch.equal(proxies, proxy_anchor(400, 64, seed=1).proxies)


def test_the_only_parameter_of_proxy_anchor_is_its_proxies():
    loss = proxy_anchor()
    assert [id(p) for p in loss.parameters()] == [id(loss.proxies)]
    assert len(loss.state_dict()) == 1
    assert list(multi_similarity().parameters()) == []


@pytest.mark.parametrize("make", [proxy_anchor, multi_similarity])
def test_loss_sees_only_the_direction(make):
    loss, (z, labels) = make(), embeddings()
    torch.testing.assert_close(loss(3.0 * z, labels), loss(z, labels))


@pytest.mark.parametrize("make", [proxy_anchor, multi_similarity])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(make, half):
    loss, (z, labels) = make(), embeddings()
    plain = loss(z, labels)
    with torch.autocast("cpu", dtype=half):
        cast = loss(z, labels)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


@pytest.mark.parametrize("make", [proxy_anchor, multi_similarity])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_embeddings_are_computed_as_float32(make, half):
    loss, (z, labels) = make(), embeddings()
    assert torch.equal(loss(z.to(half), labels), loss(z.to(half).float(), labels))
    assert all(p.dtype == torch.float32 for p in loss.parameters())
