"""From stored pixels to what a backbone was trained on."""

import torch
from torch import Tensor


class Normalise:
    """(x / 255 − mean) / std per channel, on the device."""

    def __init__(self, mean: list[float], std: list[float], device: torch.device) -> None:
        self.mean = torch.tensor(mean, device=device) * 255
        self.std = torch.tensor(std, device=device) * 255

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B×H×W×3) → float32 (B×3×H×W), channels last in memory still (faster convolutions)."""
        width = images.shape[2]
        # Whole rows of W·3 numbers: the processor takes many at a time, of three it takes one.
        rows = images.to(self.mean.device, non_blocking=True).flatten(2).float()
        rows.sub_(self.mean.repeat(width)).div_(self.std.repeat(width))
        return rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)
