"""The metric losses, each in the file of its name, and the hierarchical regulariser (hier.py).

The file of a loss, which conf/loss/<name>.yaml gives the values of, defines

    class Settings(hier.config.run.Loss)    its settings and what is true of it whatever they are
    def build(settings, dim, num_classes, curvature, generator) -> torch.nn.Module

`build` is called with keywords and takes those that it needs: `dim` is D, `num_classes` C (labels are
0…C−1), `curvature` c of the ball that the embeddings lie on (0: flat), `generator` a CPU generator for
what the loss starts from. The module is called with B×D embeddings and B integer labels and returns a
scalar of at least float32, whatever autocast says. What the settings do not need, torch above all, is
best imported in `build`: every command checks settings.

For a training loop of one's own, plain.py has the losses with plain arguments: `from hier.losses import
HIERLoss` (docs/losses.md). It is imported when one of them is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hier.losses.plain import (
        HIERLoss,
        HypLoss,
        MultiSimilarityLoss,
        NormalizedSoftmaxLoss,
        ProxyAnchorLoss,
        ProxyNCAAngleLoss,
        ProxyNCALoss,
        SoftTripleLoss,
        XBMLoss,
        to_ball,
    )

__all__ = [
    "HIERLoss",
    "HypLoss",
    "MultiSimilarityLoss",
    "NormalizedSoftmaxLoss",
    "ProxyAnchorLoss",
    "ProxyNCAAngleLoss",
    "ProxyNCALoss",
    "SoftTripleLoss",
    "XBMLoss",
    "to_ball",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("hier.losses.plain"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
