"""Global average plus global maximum (method, section 4)."""

from torch import Tensor, nn

from hier.errors import ConfigError


class AveragePlusMaximum(nn.Module):
    """Global average plus global maximum pooling, B×F×H×W → B×F."""

    def forward(self, maps: Tensor) -> Tensor:
        """The sum of the two."""
        return maps.mean((2, 3)) + maps.amax((2, 3))


def pool(backbone: nn.Module, name: str) -> None:
    """Pool by it. Raises ConfigError: the network has no maps."""
    if not hasattr(backbone, "global_pool"):
        raise ConfigError(f"backbone.pooling: {name} has no maps to pool; use timm")
    backbone.global_pool = AveragePlusMaximum()
