"""Metric losses on the direction of the embedding, from pytorch-metric-learning.

All are called as ``loss(z, labels)`` with B×D embeddings of any norm and B integer labels, and
return a scalar of at least float32 whatever autocast says.
"""

import math

import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn


class ProxyLoss(nn.Module):
    """A loss of the library that learns proxies, its parameter `name`: base of those below."""

    def __init__(self, loss: nn.Module, name: str) -> None:
        super().__init__()
        self.loss = loss
        self._name = name

    @property
    def proxies(self) -> nn.Parameter:
        """The parameter, float32: C×D, or D×(number of proxies) where a class below says so."""
        proxies: nn.Parameter = getattr(self.loss, self._name)
        return proxies

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings z with B integer labels: a scalar."""
        # The library casts its proxies in place to the dtype of the embeddings: hand it theirs.
        with torch.autocast(z.device.type, enabled=False):
            value: Tensor = self.loss(z.to(self.proxies.dtype), labels)
        return value


class ProxyAnchor(ProxyLoss):
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
        def initialise(proxies: Tensor) -> Tensor:
            return nn.init.kaiming_normal_(proxies, mode="fan_out", generator=generator)

        loss = losses.ProxyAnchorLoss(
            num_classes, dim, margin=margin, alpha=alpha, weight_init_func=initialise
        )
        super().__init__(loss, "proxies")


class ProxyNCA(ProxyLoss):
    """ProxyNCA++ loss (Teh et al., ECCV 2020), its reduction the mean over the batch.

    −log softmax over all C proxies p, the positive among them, of −scale·‖z − p‖² for unit vectors.
    The softmax is not taken by its logarithm: with `scale` above 20 it can be 0 in float32, and
    such an embedding drops out of the mean.

    Args:
        num_classes: C; labels are 0…C−1.
        dim: D, dimension of the embedding.
        scale: 1/T; T = 1/9 in the paper.
        generator: CPU generator of the initial proxies, N(0, 1) as in the library.
    """

    def __init__(
        self, num_classes: int, dim: int, *, scale: float, generator: torch.Generator
    ) -> None:
        def initialise(proxies: Tensor) -> Tensor:
            return nn.init.normal_(proxies, generator=generator)

        loss = losses.ProxyNCALoss(
            num_classes, dim, softmax_scale=scale, weight_init_func=initialise
        )
        super().__init__(loss, "proxies")


class SoftTriple(ProxyLoss):
    """SoftTriple loss (Qian et al., ICCV 2019) without the term that merges centres.

    An embedding's similarity to a class is the mean of its cosines to the class's centres, weighted
    by their softmax at temperature γ; the loss is the cross-entropy of λ(similarity − δ[own class]).

    Attributes:
        proxies: D×(C·centers), the centres of a class side by side.

    Args:
        num_classes: C; labels are 0…C−1.
        dim: D, dimension of the embedding.
        centers: for each class; 10 in the HIER code and the paper.
        la: λ, 20 there.
        gamma: γ, 0.1 there.
        margin: δ, 0.01 there.
        generator: CPU generator of the initial centres, Kaiming uniform with a = √5 as in the
            library and in SoftTriple's own code.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        centers: int,
        la: float,
        gamma: float,
        margin: float,
        generator: torch.Generator,
    ) -> None:
        def initialise(proxies: Tensor) -> Tensor:
            return nn.init.kaiming_uniform_(proxies, a=math.sqrt(5), generator=generator)

        loss = losses.SoftTripleLoss(
            num_classes,
            dim,
            centers_per_class=centers,
            la=la,
            gamma=gamma,
            margin=margin,
            weight_init_func=initialise,
        )
        super().__init__(loss, "fc")


class NormSoftmax(ProxyLoss):
    """Normalised softmax (Zhai and Wu, BMVC 2019): cross-entropy of cosines/temperature.

    Attributes:
        proxies: D×C, a column for each class.

    Args:
        num_classes: C; labels are 0…C−1.
        dim: D, dimension of the embedding.
        temperature: 0.05 in the paper.
        generator: CPU generator of the initial proxies, N(0, 1) as in the library.
    """

    def __init__(
        self, num_classes: int, dim: int, *, temperature: float, generator: torch.Generator
    ) -> None:
        def initialise(proxies: Tensor) -> Tensor:
            return nn.init.normal_(proxies, generator=generator)

        loss = losses.NormalizedSoftmaxLoss(
            num_classes, dim, temperature=temperature, weight_init_func=initialise
        )
        super().__init__(loss, "W")


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
