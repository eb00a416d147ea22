"""SoftTriple (Qian et al., ICCV 2019) without the term that merges centres.

An embedding's similarity to a class is the mean of its cosines to the class's centres, weighted by their
softmax at temperature γ; the loss is the cross-entropy of λ(similarity − δ[own class]).
"""

import math
from functools import partial
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat

from hier.config.run import Count, Loss


class Settings(Loss):
    """`centers` for each class, λ = `la`, γ = `gamma`, δ = `margin`; 10, 20, 0.1 and 0.01 in the paper
    and in the HIER code.
    """

    centers: Count
    la: PositiveFloat
    gamma: PositiveFloat
    margin: NonNegativeFloat

    paper_name = "SoftTriple"
    learns_proxies = True
    on_sphere = True


def build(settings: Settings, dim: int, num_classes: int, generator: Any, **_: Any) -> Any:
    """Its proxies are D×(C·centers), the centres of a class side by side, at first Kaiming uniform with
    a = √5 as in the library and in SoftTriple's own code.
    """
    from torch.nn.init import kaiming_uniform_

    from hier.losses.library import ProxyLoss

    start = partial(kaiming_uniform_, a=math.sqrt(5), generator=generator)
    given = settings.model_dump(exclude={"name", "centers"})
    given["centers_per_class"] = settings.centers
    return ProxyLoss("SoftTripleLoss", num_classes, dim, "fc", start, **given)
