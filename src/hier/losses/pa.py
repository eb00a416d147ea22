"""Proxy-Anchor (Kim et al., CVPR 2020); margin 0.1 and α 32 in the HIER code (``PA``)."""

from functools import partial
from typing import Any

from pydantic import PositiveFloat

from hier.config.run import Loss


class Settings(Loss):
    """δ = `margin`, α = `alpha`."""

    margin: float
    alpha: PositiveFloat

    paper_name = "PA"
    learns_proxies = True
    on_sphere = True


def build(settings: Settings, dim: int, num_classes: int, generator: Any, **_: Any) -> Any:
    """Its proxies are C×D, at first Kaiming normal with fan_out."""
    from torch.nn.init import kaiming_normal_

    from hier.losses.library import ProxyLoss

    start = partial(kaiming_normal_, mode="fan_out", generator=generator)
    given = {"margin": settings.margin, "alpha": settings.alpha}
    return ProxyLoss("ProxyAnchorLoss", num_classes, dim, "proxies", start, **given)
