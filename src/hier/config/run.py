"""What a run is: one network, one method, one seed, every hyper-parameter visible.

Configured by Hydra groups in conf/; each class below is the shape of one group.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from hier.config.base import Strict
from hier.config.dataset import Sha256

Rgb = Annotated[list[float], Field(min_length=3, max_length=3)]
Share = Annotated[float, Field(gt=0, le=1)]
ShortName = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Weights(Strict):
    """Pretrained weights: a file inside an installed Python package, proved by its hash."""

    package: str
    file: str
    sha256: Sha256


class Backbone(Strict):
    """A timm network without its classifier. `features` is the length of its pooled output."""

    name: ShortName
    timm: str
    features: PositiveInt
    mean: Rgb
    std: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]
    weights: Weights | None
    freeze_batch_norm: bool


class Head(Strict):
    """LayerNorm → Linear to `dim` → Poincaré ball of curvature −c (paper, section 4; c = 0: flat)."""

    dim: PositiveInt
    curvature: NonNegativeFloat
    clip_radius: PositiveFloat


class NoLoss(Strict):
    """No metric loss: the network as it is at the start."""

    name: Literal["none"]


class ProxyAnchor(Strict):
    """Proxy-Anchor (Kim et al., CVPR 2020), official settings in conf/loss/pa.yaml."""

    name: Literal["pa"]
    margin: float
    alpha: PositiveFloat


class MultiSimilarity(Strict):
    """Multi-Similarity (Wang et al., CVPR 2019) without pair mining, as in the official HIER code."""

    name: Literal["ms"]
    alpha: PositiveFloat
    beta: PositiveFloat
    base: float


class Hyp(Strict):
    """Pairwise cross-entropy of hyperbolic ViT (Ermolov et al., CVPR 2022)."""

    name: Literal["hyp"]
    temperature: PositiveFloat


class NoRegularizer(Strict):
    name: Literal["none"]


class Hier(Strict):
    """The HIER regulariser (paper, section 3): λ2 = `weight`, K = `neighbours`, δ = `margin`."""

    name: Literal["hier"]
    weight: NonNegativeFloat
    proxies: Annotated[int, Field(ge=2)]
    neighbours: Annotated[int, Field(ge=2)]
    triplets_per_anchor: PositiveInt
    temperature: PositiveFloat
    margin: NonNegativeFloat


class Multipliers(Strict):
    """Factors on the learning rate, per parameter group."""

    backbone: NonNegativeFloat
    head: NonNegativeFloat
    hierarchical_proxies: NonNegativeFloat
    metric_proxies: NonNegativeFloat


class Optimizer(Strict):
    """AdamW; the learning rate is `lr` as it stands (the paper's is for a batch of 180)."""

    name: Literal["adamw"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    eps: PositiveFloat
    clip_value: PositiveFloat | None
    multipliers: Multipliers


class Schedule(Strict):
    """`warmup_epochs` with a frozen backbone, then constant, or × `gamma` every `step_size` epochs."""

    epochs: NonNegativeInt
    warmup_epochs: NonNegativeInt
    name: Literal["constant", "step"]
    step_size: PositiveInt
    gamma: Share

    @model_validator(mode="after")
    def warms_up_within(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} exceeds epochs {self.epochs}")
        return self


class Sampler(Strict):
    """`batch_size` images per step, `images_per_class` of each class in it."""

    batch_size: Annotated[int, Field(ge=2)]
    images_per_class: PositiveInt

    @model_validator(mode="after")
    def divides(self) -> Self:
        if self.batch_size % self.images_per_class:
            raise ValueError(
                f"sampler.images_per_class {self.images_per_class} does not divide "
                f"sampler.batch_size {self.batch_size}"
            )
        return self


class Augmentation(Strict):
    """RandomResizedCrop to `size` px with area `scale` and aspect `ratio`, then a horizontal flip."""

    size: Annotated[int, Field(ge=8)]
    scale: Annotated[list[Share], Field(min_length=2, max_length=2)]
    ratio: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]
    flip: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def ordered(self) -> Self:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"augmentation.{name}: {low} is above {high}")
        return self


class Embed(Strict):
    """Evaluation images: short side to `resize`, centre crop to `crop` (bicubic)."""

    resize: Annotated[int, Field(ge=8)]
    crop: Annotated[int, Field(ge=8)]
    batch_size: PositiveInt


class Evaluate(Strict):
    """How embeddings are compared. Recall's K are the dataset's."""

    metric: Literal["poincare", "cosine"]


class Runtime(Strict):
    """`threads` fixes the order of sums on a CPU, so it is part of the result's identity."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "float16", "bfloat16"]
    threads: PositiveInt
    workers: NonNegativeInt


class Run(Strict):
    """One row of the table."""

    dataset: ShortName
    method: ShortName
    seed: NonNegativeInt
    backbone: Backbone
    head: Head | None
    loss: Annotated[NoLoss | ProxyAnchor | MultiSimilarity | Hyp, Field(discriminator="name")]
    regularizer: Annotated[NoRegularizer | Hier, Field(discriminator="name")]
    optimizer: Optimizer
    schedule: Schedule
    sampler: Sampler
    augmentation: Augmentation
    embed: Embed
    evaluate: Evaluate
    runtime: Runtime

    @property
    def dim(self) -> int:
        """Length of the embedding."""
        return self.head.dim if self.head else self.backbone.features

    @property
    def name(self) -> str:
        """`<dataset>-<method>-<backbone>-<dim>-s<seed>`: the run's folder below runs/."""
        return f"{self.dataset}-{self.method}-{self.backbone.name}-{self.dim}-s{self.seed}"

    @model_validator(mode="after")
    def coherent(self) -> Self:
        if isinstance(self.loss, NoLoss) and self.schedule.epochs:
            raise ValueError(f"schedule.epochs is {self.schedule.epochs}, but loss is none")
        if isinstance(self.regularizer, Hier):
            if self.regularizer.neighbours >= self.sampler.batch_size:
                raise ValueError(
                    f"regularizer.neighbours {self.regularizer.neighbours} must be below "
                    f"sampler.batch_size {self.sampler.batch_size}"
                )
            if self.regularizer.neighbours >= self.regularizer.proxies:
                raise ValueError(
                    f"regularizer.neighbours {self.regularizer.neighbours} must be below "
                    f"regularizer.proxies {self.regularizer.proxies}"
                )
            if not (self.head and self.head.curvature):
                raise ValueError("the HIER regularizer needs a head with head.curvature > 0")
        if isinstance(self.loss, Hyp) and self.sampler.images_per_class < 2:
            raise ValueError("loss hyp needs sampler.images_per_class of at least 2")
        if self.evaluate.metric == "poincare" and not (self.head and self.head.curvature):
            raise ValueError("evaluate.metric poincare needs a head with head.curvature > 0")
        if self.embed.crop > self.embed.resize:
            raise ValueError(
                f"embed.crop {self.embed.crop} exceeds embed.resize {self.embed.resize}"
            )
        return self
