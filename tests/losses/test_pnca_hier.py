"""ProxyNCA as HIER's code has it, against its values and gradients, and by hand."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from fakes.steps import golden
from hier.losses import pnca, pnca_hier


def loss_of(module, classes, dim, **settings):
    given = module.Settings(name=module.__name__.split(".")[-1], **settings)
    generator = torch.Generator().manual_seed(0)
    return module.build(given, dim=dim, num_classes=classes, curvature=0.1, generator=generator)


@pytest.mark.parametrize("case", golden("pnca")[1]["cases"])
def test_it_is_the_official_one_in_value_and_gradients(case):
    arrays, settings = golden("pnca")
    own = settings["cases"][case]
    loss = loss_of(pnca_hier, own["classes"], own["dim"], margin=own["margin"], alpha=own["alpha"]).double()
    x, proxies, labels = (arrays[f"{case}/{key}"] for key in ("x", "proxies", "labels"))
    with torch.no_grad():
        loss.proxies.copy_(proxies)
    x = x.requires_grad_()
    value = loss(normalize(x), labels)
    value.backward()
    for ours, key in ((value, "loss"), (x.grad, "grad_x"), (loss.proxies.grad, "grad_proxies")):
        theirs = arrays[f"{case}/{key}"]
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-12, atol=1e-13)


def test_two_images_by_hand():
    """Both at their proxies, which are orthogonal: cosines 1 and 0."""
    loss = loss_of(pnca_hier, 2, 2, margin=0.1, alpha=32.0)
    with torch.no_grad():
        loss.proxies.copy_(torch.eye(2))
    pull, push = math.log1p(math.exp(-32 * 0.9)), math.log1p(math.exp(32 * 0.1))
    value = loss(torch.eye(2), torch.arange(2)).item()
    assert value == pytest.approx(pull + push, rel=1e-6)
    other = loss_of(pnca, 2, 2, scale=9.0)
    with torch.no_grad():
        other.proxies.copy_(torch.eye(2))
    assert other(torch.eye(2), torch.arange(2)).item() != pytest.approx(value, rel=0.1)


def test_far_off_cosines_overflow_nothing():
    loss = loss_of(pnca_hier, 3, 4, margin=0.1, alpha=1e4)
    z = normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1))).requires_grad_()
    value = loss(z, torch.arange(6) % 3)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()
