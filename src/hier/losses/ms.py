"""Multi-Similarity (Wang et al., CVPR 2019) without pair mining; α 2, β 50, base 0.5 in the HIER code
(``MS``).
"""

from typing import Any

from pydantic import PositiveFloat

from hier.config.run import Loss


class Settings(Loss):
    """α = `alpha` of positive pairs, β = `beta` of negative ones, λ = `base`."""

    alpha: PositiveFloat
    beta: PositiveFloat
    base: float

    paper_name = "MS"
    learns_proxies = False
    on_sphere = True


def build(settings: Settings, **_: Any) -> Any:
    from hier.losses.library import LibraryLoss

    return LibraryLoss("MultiSimilarityLoss", **settings.model_dump(exclude={"name"}))
