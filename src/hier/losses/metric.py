"""Metric losses on the direction of the embedding, from pytorch-metric-learning.

All are called as ``loss(z, labels)`` with B×D embeddings of any norm and B integer labels, and
return a scalar of at least float32 whatever autocast says.
"""

import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn


class ProxyAnchor(nn.Module):
    """Proxy-Anchor loss (Kim et al., CVPR 2020); margin 0.1, α 32 in the HIER code (``PA``).

    Args:
        num_classes: C; labels are 0…C−1.
        dim: D, dimension of the embedding.
        margin: δ of the loss.
        alpha: its scale α.
        generator: CPU generator of the initial proxies, Kaiming normal with fan_out.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        margin: float,
        alpha: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()

        def initialise(proxies: Tensor) -> Tensor:
            return nn.init.kaiming_normal_(proxies, mode="fan_out", generator=generator)

        self.loss = losses.ProxyAnchorLoss(
            num_classes, dim, margin=margin, alpha=alpha, weight_init_func=initialise
        )

    @property
    def proxies(self) -> nn.Parameter:
        """C×D parameter, float32: one proxy for each class."""
        proxies: nn.Parameter = self.loss.proxies
        return proxies

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings z with B integer labels: a scalar."""
        # The library casts its proxies in place to the dtype of the embeddings: hand it theirs.
        with torch.autocast(z.device.type, enabled=False):
            value: Tensor = self.loss(z.to(self.proxies.dtype), labels)
        return value


class MultiSimilarity(nn.Module):
    """Multi-Similarity loss (Wang et al., CVPR 2019) without pair mining; α 2, β 50, base 0.5 in
    the HIER code (``MS``).
    """

    def __init__(self, *, alpha: float, beta: float, base: float) -> None:
        super().__init__()
        self.loss = losses.MultiSimilarityLoss(alpha=alpha, beta=beta, base=base)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings z with B integer labels: a scalar."""
        with torch.autocast(z.device.type, enabled=False):
            value: Tensor = self.loss(z.to(torch.promote_types(z.dtype, torch.float32)), labels)
        return value
