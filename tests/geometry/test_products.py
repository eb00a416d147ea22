"""Inner products by NumPy against sums in Python."""

import math

import pytest
import torch

from hier.geometry.products import inner_products


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("given", [False, True])
def test_they_are_the_sums_of_products(dtype, given):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 7, generator=generator, dtype=dtype) for n in (5, 3))
    out = torch.full((5, 3), math.nan, dtype=dtype) if given else None
    found = inner_products(x, y, out)
    assert (found.dtype, found.shape) == (dtype, (5, 3))
    if given:
        assert torch.equal(found, out)
    for i in range(5):
        for j in range(3):
            exact = math.fsum(a * b for a, b in zip(x[i].tolist(), y[j].tolist(), strict=True))
            assert float(found[i, j]) == pytest.approx(exact, abs=7 * torch.finfo(dtype).eps * 10)
