"""The pooling that the network has in timm."""

from torch import nn


def pool(backbone: nn.Module, name: str) -> None:
    """Leave it."""
