"""ProxyNCA++ (Teh et al., ECCV 2020), its reduction the mean over the batch.

−log softmax over all C proxies p, the positive among them, of −scale·‖z − p‖² for unit vectors. The
softmax is not taken by its logarithm: with `scale` above 20 it can be 0 in float32, and such an embedding
drops out of the mean.
"""

from functools import partial
from typing import Any

from pydantic import PositiveFloat

from hier.config.run import Loss


class Settings(Loss):
    """`scale` = 1/T; T = 1/9 in the paper."""

    scale: PositiveFloat

    paper_name = "ProxyNCA++"
    learns_proxies = True
    on_sphere = True


def build(settings: Settings, dim: int, num_classes: int, generator: Any, **_: Any) -> Any:
    """Its proxies are C×D, at first N(0, 1) as in the library."""
    from torch.nn.init import normal_

    from hier.losses.library import ProxyLoss

    start, given = partial(normal_, generator=generator), {"softmax_scale": settings.scale}
    return ProxyLoss("ProxyNCALoss", num_classes, dim, "proxies", start, **given)
