"""From stored pixels to what a backbone was trained on."""

import torch
from torch import Tensor


class Normalise:
    """(x / 255 − mean) / std per channel, on the device."""

    def __init__(self, mean: list[float], std: list[float], device: torch.device) -> None:
        self.mean = torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(std, device=device).view(1, 3, 1, 1) * 255

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B×3×H×W) → float32 of the same shape, channels last in memory (faster convolutions)."""
        images = images.to(self.mean.device, non_blocking=True)
        images = images.to(torch.float32, memory_format=torch.channels_last)
        return (images - self.mean) / self.std
