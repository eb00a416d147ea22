"""From stored pixels to what a backbone was trained on."""

import torch
from torch import Tensor


class Normalise:
    """(x / 255 − mean) / std per channel, on the device."""

    def __init__(self, mean: list[float], std: list[float], device: torch.device) -> None:
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1) * 255

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B×H×W×3) → float32 (B×3×H×W), channels last in memory still (faster convolutions)."""
        images = images.to(self.mean.device, non_blocking=True).permute(0, 3, 1, 2)
        return (images.float() - self.mean) / self.std
