"""Linear layers of transformers that take no longer with portable kernels than with the processor's own."""

from torch import Tensor, nn
from torch.nn.functional import conv2d

from hier.kernels import kernels_in_use


class TokenLinear(nn.Linear):
    """A linear layer over tokens, as a convolution of 1×1.

    On a CPU PyTorch multiplies by MKL, which is half as fast where it must round alike on every vendor's
    processors, and convolves 16 images or more by oneDNN, which is not.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x Wᵀ + b of tokens (B×T×F), or of any other batch."""
        if x.ndim != 3 or x.device.type != "cpu":
            return super().forward(x)
        columns = x.transpose(1, 2).unsqueeze(2)  # B×F×1×T, in memory as it was: channels last
        return conv2d(columns, self.weight[:, :, None, None], self.bias).squeeze(2).transpose(1, 2)


def speed_up_tokens(network: nn.Module) -> None:
    """Turn a network's linear layers into `TokenLinear` where this process computes portably."""
    if kernels_in_use() == "portable":
        for module in network.modules():
            if type(module) is nn.Linear:
                module.__class__ = TokenLinear
