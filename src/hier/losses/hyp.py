"""Hyp: pairwise cross-entropy over hyperbolic distances (Ermolov et al., "Hyperbolic Vision
Transformers", CVPR 2022).
"""

from typing import Any, Literal

from pydantic import PositiveFloat

from hier.config.run import Loss, Run


class Settings(Loss):
    """τ = `temperature`.

    The n(n − 1) terms are summed as in Hyp's own code (`reduction: hyp`) or that sum is divided by
    n² as in HIER's (`hier`).
    """

    temperature: PositiveFloat
    reduction: Literal["hier", "hyp"] = "hier"

    paper_name = "Hyp"
    learns_proxies = False
    on_sphere = False

    def check(self, run: Run) -> None:
        if run.sampler.images_per_class < 2:
            raise ValueError("loss hyp needs sampler.images_per_class of at least 2")


def build(settings: Settings, curvature: float, **_: Any) -> Any:
    from hier.losses.pairwise import PairwiseCrossEntropy

    return PairwiseCrossEntropy(curvature=curvature, **settings.model_dump(exclude={"name"}))
