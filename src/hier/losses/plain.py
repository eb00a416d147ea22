"""The losses with plain arguments, for a training loop of one's own (docs/losses.md).

Each is the module that a run gets, with the same values for the same seed. It is called with B×D embeddings
and B integer labels and returns a scalar, at least float32, whatever autocast says. Defaults are those of
conf/: of the papers, or of the authors' code. Raises ValueError: an argument is out of its range.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hier.config.run import Hier
from hier.geometry.poincare import exp0
from hier.losses.hier import Geometry, HierRegularizer
from hier.losses.pairwise import Reduction
from hier.registry import LOSSES
from hier.seeding import torch_generator


def to_ball(
    u: Tensor, curvature: float = 0.1, clip_radius: float | None = 2.3, riemannian: bool = True
) -> Tensor:
    """Map what a network returns (B×D) into the Poincaré ball, see `hier.geometry.poincare.exp0`."""
    return exp0(u, curvature, clip_radius, riemannian)


class MetricLoss(nn.Module):
    """What the metric losses share: the loss `name` of the pipeline with its settings, and unit vectors for
    those that see directions only. Proxies are drawn from `seed`."""

    def __init__(
        self,
        name: str,
        *,
        num_classes: int = 0,
        dim: int = 0,
        curvature: float = 0.0,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__()
        part = LOSSES.module(name)
        self.on_sphere: bool = part.Settings.on_sphere
        self.loss: nn.Module = part.build(
            part.Settings(name=name, **settings),
            dim=dim,
            num_classes=num_classes,
            curvature=curvature,
            generator=torch_generator(seed, "metric proxies"),
        )

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings with B labels 0…C−1: a scalar."""
        z = _at_least_float32(embeddings)
        value: Tensor = self.loss(normalize(z) if self.on_sphere else z, labels)
        return value


class ProxyAnchorLoss(MetricLoss):
    """Proxy-Anchor (Kim et al., CVPR 2020, equation 4): δ = `margin`, α = `alpha`."""

    def __init__(
        self, num_classes: int, dim: int, *, margin: float = 0.1, alpha: float = 32.0, seed: int = 0
    ) -> None:
        super().__init__("pa", num_classes=num_classes, dim=dim, seed=seed, margin=margin, alpha=alpha)


class ProxyNCALoss(MetricLoss):
    """ProxyNCA++ (Teh et al., ECCV 2020, equation 6), the mean over the batch: 1/T = `scale`."""

    def __init__(self, num_classes: int, dim: int, *, scale: float = 9.0, seed: int = 0) -> None:
        super().__init__("pnca", num_classes=num_classes, dim=dim, seed=seed, scale=scale)


class ProxyNCAAngleLoss(MetricLoss):
    """ProxyNCA as the HIER code has it (``PNCALoss_Angle``): Proxy-Anchor with the roles of images and
    proxies exchanged."""

    def __init__(
        self, num_classes: int, dim: int, *, margin: float = 0.1, alpha: float = 32.0, seed: int = 0
    ) -> None:
        given = {"margin": margin, "alpha": alpha}
        super().__init__("pnca_hier", num_classes=num_classes, dim=dim, seed=seed, **given)


class SoftTripleLoss(MetricLoss):
    """SoftTriple (Qian et al., ICCV 2019, equations 7 and 8) without the term that merges centres: `centers`
    for each class, λ = `la`, γ = `gamma`, δ = `margin`."""

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        centers: int = 10,
        la: float = 20.0,
        gamma: float = 0.1,
        margin: float = 0.01,
        seed: int = 0,
    ) -> None:
        given = {"centers": centers, "la": la, "gamma": gamma, "margin": margin}
        super().__init__("softtriple", num_classes=num_classes, dim=dim, seed=seed, **given)


class NormalizedSoftmaxLoss(MetricLoss):
    """Normalised softmax (Zhai and Wu, BMVC 2019): cross-entropy of cosines/`temperature`."""

    def __init__(self, num_classes: int, dim: int, *, temperature: float = 0.05, seed: int = 0) -> None:
        super().__init__("nsoftmax", num_classes=num_classes, dim=dim, seed=seed, temperature=temperature)


class MultiSimilarityLoss(MetricLoss):
    """Multi-Similarity (Wang et al., CVPR 2019) without mining: α = `alpha` of positive pairs, β = `beta` of
    negative ones, λ = `base`."""

    def __init__(self, *, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5) -> None:
        super().__init__("ms", alpha=alpha, beta=beta, base=base)


class XBMLoss(MetricLoss):
    """Cross-batch memory around the contrastive loss on cosines (Wang et al., CVPR 2020): from step `start`
    on, a batch meets the `memory` latest embeddings (see `hier.losses.memory.CrossBatch`). The call raises
    ValueError: the batch is larger than the memory."""

    def __init__(
        self,
        dim: int,
        *,
        memory: int = 1024,
        start: int = 1000,
        positive_similarity: float = 1.0,
        negative_similarity: float = 0.5,
    ) -> None:
        super().__init__(
            "xbm",
            dim=dim,
            memory=memory,
            start=start,
            positive_similarity=positive_similarity,
            negative_similarity=negative_similarity,
        )


class HypLoss(MetricLoss):
    """Hyp (Ermolov et al., CVPR 2022): cross-entropy of positive pairs by −distance/`temperature` on the ball
    of `curvature`, or of any vectors by cosine/`temperature` where that is 0 (the paper has 0.1 there).
    `reduction` "hier" or "hyp" is whose code's.

    The call raises ValueError: an embedding is not on the ball, or the classes of the batch do not all have
    the same number of images, 2 or more."""

    def __init__(
        self, *, temperature: float = 0.2, reduction: Reduction = "hier", curvature: float = 0.1
    ) -> None:
        super().__init__("hyp", curvature=curvature, temperature=temperature, reduction=reduction)
        self.curvature = curvature

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings with B labels: a scalar."""
        _check_on_ball(embeddings, self.curvature)
        return super().forward(embeddings, labels)


class HIERLoss(nn.Module):
    """The HIER regulariser (Kim et al., CVPR 2023, section 3), times λ2 = `weight`: to be added to a metric
    loss. See `hier.losses.hier.HierRegularizer`.

    Args:
        dim: D, dimension of the embedding.
        proxies: number of hierarchical proxies, which are drawn from `seed`.
        neighbours: K of the reciprocal neighbours.
        margin: δ of the triplet loss.
        curvature: c of the ball; 0 for another `geometry`, "euclidean" or "spherical".
        k_may_equal_i: as the released code draws triplets.
        generator: source of triplets and noise; if None, one from `seed` on the first batch's device.

    The call raises ValueError: an embedding is not on the ball."""

    def __init__(
        self,
        dim: int,
        *,
        weight: float = 0.5,
        proxies: int = 512,
        neighbours: int = 20,
        triplets_per_anchor: int = 50,
        temperature: float = 0.1,
        margin: float = 0.1,
        geometry: Geometry = "poincare",
        proxy_term: bool = True,
        curvature: float = 0.1,
        clip_radius: float = 2.3,
        k_may_equal_i: bool = False,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        checked = Hier(
            name="hier",
            weight=weight,
            proxies=proxies,
            neighbours=neighbours,
            triplets_per_anchor=triplets_per_anchor,
            temperature=temperature,
            margin=margin,
            geometry=geometry,
            proxy_term=proxy_term,
        )
        self.regularizer = HierRegularizer(
            checked.proxies,
            dim,
            curvature=curvature,
            clip_radius=clip_radius,
            k_may_equal_i=k_may_equal_i,
            generator=torch_generator(seed, "hierarchical proxies"),
            **checked.model_dump(exclude={"name", "weight", "proxies"}),
        )
        self.weight, self.seed, self.generator = checked.weight, seed, generator

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings, on the ball where that is the geometry, with B labels: a scalar."""
        _check_on_ball(embeddings, self.regularizer.curvature)
        if self.generator is None:
            self.generator = torch_generator(self.seed, "regularizer", device=embeddings.device)
        value: Tensor = self.regularizer(_at_least_float32(embeddings), labels, self.generator)
        return self.weight * value


def _at_least_float32(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _check_on_ball(z: Tensor, c: float) -> None:
    """Points on the boundary and outside have no distance: there a loss would be NaN without a word."""
    if c > 0 and not bool((c * _at_least_float32(z.detach()).square().sum(-1) < 1).all()):
        raise ValueError(
            f"embeddings must be finite and on the ball of curvature {c}: map them there with to_ball"
        )
