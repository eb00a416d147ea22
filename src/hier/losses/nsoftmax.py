"""Normalised softmax (Zhai and Wu, BMVC 2019): cross-entropy of cosines/temperature."""

from functools import partial
from typing import Any

from pydantic import PositiveFloat

from hier.config.run import Loss


class Settings(Loss):
    """`temperature`: 0.05 in the paper."""

    temperature: PositiveFloat

    paper_name = "NSoftmax"
    learns_proxies = True
    on_sphere = True


def build(settings: Settings, dim: int, num_classes: int, generator: Any, **_: Any) -> Any:
    """Its proxies are D×C, a column for each class, at first N(0, 1) as in the library."""
    from torch.nn.init import normal_

    from hier.losses.library import ProxyLoss

    start, given = partial(normal_, generator=generator), {"temperature": settings.temperature}
    return ProxyLoss("NormalizedSoftmaxLoss", num_classes, dim, "W", start, **given)
