"""Inner products of rows with rows, without a gradient."""

import numpy as np
import torch
from torch import Tensor


def inner_products(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """⟨xᵢ, yⱼ⟩ of the rows of x (N×D) and y (M×D): N×M, in `out` where it is given, which is contiguous.

    On a CPU by NumPy, whose OpenBLAS has fast kernels that round alike on every vendor's processors.
    PyTorch's MKL takes two to four times as long where it must (hier.kernels).
    """
    if x.device.type != "cpu":
        return torch.mm(x, y.T, out=out)
    made = np.matmul(x.numpy(), y.numpy().T, out=None if out is None else out.numpy())
    return torch.from_numpy(made)
