"""Linear layers over tokens against PyTorch's own, values and gradients."""

import pytest
import torch
from torch import nn

from hier.models import token_linear
from hier.models.token_linear import TokenLinear, speed_up_tokens


@pytest.mark.parametrize("shape", [(17, 5, 6), (3, 5, 6), (4, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_a_linear_layer(shape, bias):
    torch.manual_seed(0)
    plain = nn.Linear(6, 4, bias=bias).double()
    tokens = TokenLinear(6, 4, bias=bias).double()
    tokens.load_state_dict(plain.state_dict())
    weight = torch.randn(*shape[:-1], 4, dtype=torch.float64)
    found = []
    for layer in (plain, tokens):
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        made = layer(x)
        (made * weight).sum().backward()
        found.append([made, x.grad, *(parameter.grad for parameter in layer.parameters())])
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-12)


def test_layers_are_turned_with_portable_kernels_alone_and_keep_their_names(monkeypatch):
    def network():
        return nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.Linear(4, 2)), nn.Conv2d(3, 3, 1))

    for kernels, turned in (("native", 0), ("portable", 2)):
        monkeypatch.setattr(token_linear, "kernels_in_use", lambda said=kernels: said)
        made = network()
        speed_up_tokens(made)
        assert sum(isinstance(module, TokenLinear) for module in made.modules()) == turned
        assert made.state_dict().keys() == network().state_dict().keys()
