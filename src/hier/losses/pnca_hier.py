"""ProxyNCA as the HIER code has it (``PNCALoss_Angle``), which is another loss than ProxyNCA++ (pnca.py).

It is Proxy-Anchor with the roles of images and proxies exchanged: for each image the sum runs over the
classes. With the cosine s of an image to each proxy and y its own class,

    log(1 + exp(−α (s_y − δ))) + log(1 + Σ_{c ≠ y} exp(α (s_c + δ))),

and the mean over the batch is taken.
"""

from typing import Any

from pydantic import PositiveFloat

from hier.config.run import Loss


class Settings(Loss):
    """δ = `margin`, α = `alpha`; 0.1 and 32 in the HIER code."""

    margin: float
    alpha: PositiveFloat

    paper_name = "ProxyNCA (HIER's code)"
    learns_proxies = True
    on_sphere = True


def build(settings: Settings, dim: int, num_classes: int, generator: Any, **_: Any) -> Any:
    """Its proxies are C×D, at first Kaiming normal with fan_out."""
    from hier.losses.images_to_proxies import ImagesToProxies

    return ImagesToProxies(num_classes, dim, settings.margin, settings.alpha, generator)
