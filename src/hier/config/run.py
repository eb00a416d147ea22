"""What a run is: one network, one method, one seed; each class is the shape of a group of conf/."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, model_validator

from hier.config.base import LARGEST, Strict
from hier.config.protocol import CORRECTED, Protocol
from hier.kernels import Kernels
from hier.registry import LOSSES, POOLINGS

Count = Annotated[int, Field(gt=0, le=LARGEST)]
AtLeastTwo = Annotated[int, Field(ge=2, le=LARGEST)]
CountFromZero = Annotated[int, Field(ge=0, le=LARGEST)]
Rgb = Annotated[list[float], Field(min_length=3, max_length=3)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Side = Annotated[int, Field(ge=8, le=LARGEST)]  # pixels
ShortName = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Weights(Strict):
    """Pretrained weights: one file (.safetensors, .pth or the augreg .npz), proved by its hash. It lies in an
    installed Python `package`, or is looked for in HIER_MIRROR, `weights/`, and at `url` and `alternates`."""

    file: str
    package: str | None = None
    url: str | None = None
    alternates: list[str] = []
    # The whole hash, or 8 digits or more of its beginning; null where its publisher states none.
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None
    match: Literal["name", "order"] = "order"  # how tensors find their place


class Backbone(Strict):
    """A timm network without its classifier. `features` is the length of its pooled output.

    The parameters of the modules in `freeze` are never trained. `batch_norm` while training: batch
    statistics (`train`), the pretrained running statistics with weight and bias trained (`eval`, the
    released scripts' bn_freeze), or nothing of it (`frozen`).
    """

    name: ShortName
    timm: str
    features: Count
    mean: Rgb
    std: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    weights: Weights | None
    batch_norm: Literal["train", "eval", "frozen"]
    freeze: list[str] = []
    pooling: Annotated[str, AfterValidator(POOLINGS.check)] = "timm"


class Head(Strict):
    """LayerNorm → Linear to `dim`, × `scale` → Poincaré ball of curvature −c (paper, section 4; c = 0: flat).

    Hyp's own head has no `norm`, and passes gradients as they are: HIER's, `riemannian`, scales them by
    the inverse of the metric. With `learns_scale` the scale is a parameter that starts at `scale`; the
    released code has none (1).
    """

    dim: Count
    curvature: NonNegative
    clip_radius: Positive
    norm: Literal["layer_norm", "none"] = "layer_norm"
    riemannian: bool = True
    scale: Positive = 1.0
    learns_scale: bool = False


class Loss(Strict):
    """What the settings of all metric losses share; src/hier/losses/<name>.py has the others of one."""

    name: Annotated[ShortName, AfterValidator(LOSSES.check)]

    paper_name: ClassVar[str]  # in the paper's Table 1
    learns_proxies: ClassVar[bool]  # it has parameters, which get a learning rate of their own
    on_sphere: ClassVar[bool]  # it sees directions only, as unit vectors

    def check(self, run: "Run") -> None:
        """Raise ValueError where the loss does not go with other settings of the run."""


def _own_settings(value: Any) -> Any:
    """The settings of a loss, checked by the class in its file; `Loss` refuses those of no loss."""
    if isinstance(value, dict) and LOSSES.has(str(value.get("name"))):
        return LOSSES.module(value["name"]).Settings.model_validate(value)
    return value


class NoRegularizer(Strict):
    name: Literal["none"]


class Hier(Strict):
    """The HIER regulariser (paper, section 3)."""

    name: Literal["hier"]
    weight: NonNegative  # λ2
    proxies: AtLeastTwo
    neighbours: AtLeastTwo  # K
    triplets_per_anchor: Count
    temperature: Positive
    margin: NonNegative  # δ
    geometry: Literal["poincare", "euclidean", "spherical"] = "poincare"  # else: ablation
    proxy_term: bool = True  # on triplets of proxies


class Multipliers(Strict):
    """Factors on the learning rate, per parameter group."""

    backbone: NonNegative
    head: NonNegative
    hierarchical_proxies: NonNegative
    metric_proxies: NonNegative


class Optimizer(Strict):
    """AdamW; the learning rate is `lr` as it stands (the paper's is for a batch of 180).

    `network_gradient_scale` multiplies the gradients of backbone and head before they are clipped. On G
    GPUs the released code gives them 1/G of the gradient and the proxies all of it: each process
    differentiates its own part of the batch, and the mean over processes is taken for the network alone.
    """

    name: Literal["adamw"]
    lr: Positive
    weight_decay: NonNegative
    eps: Positive
    clip_value: Positive | None
    clip_norm: Positive | None = None
    network_gradient_scale: Positive = 1.0
    multipliers: Multipliers


class Schedule(Strict):
    """`warmup_epochs` without a move of the backbone, then constant, or × `gamma` every `step_size` epochs.

    While warming up the backbone's rate is 0 and Adam's moments of it grow (`zero_rate`, the released
    code), or it has no gradient at all (`no_gradient`: cheaper, and Adam starts cold afterwards).
    """

    epochs: CountFromZero
    warmup_epochs: CountFromZero
    warmup: Literal["zero_rate", "no_gradient"] = "zero_rate"
    name: Literal["constant", "step"]
    step_size: Count
    gamma: Share

    @model_validator(mode="after")
    def warms_up_within(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} exceeds epochs {self.epochs}")
        return self


class Sampler(Strict):
    """`batch_size` images per step, `images_per_class` of each class in it.

    An `epoch` has as many steps as the `images` fill, or visits each of the `classes` once (Hyp). Images of
    a class are drawn with `replacement` (the released code), or none twice before all were seen once.

    The network computes a batch in as many equal `shards`, whose gradients are summed in their order; the
    objective sees the whole batch. More than one can be computed by several processes (`Runtime`).
    """

    batch_size: AtLeastTwo
    images_per_class: Count
    epoch: Literal["images", "classes"] = "images"
    replacement: bool = False
    shards: Count = 1

    @model_validator(mode="after")
    def divides(self) -> Self:
        size = self.batch_size
        for name in ("images_per_class", "shards"):
            if size % (parts := getattr(self, name)):
                raise ValueError(f"sampler.{name} {parts} does not divide sampler.batch_size {size}")
        return self


class Augmentation(Strict):
    """RandomResizedCrop to `size` px with area `scale` and aspect `ratio`, then a horizontal flip."""

    size: Side
    scale: Annotated[list[Share], Field(min_length=2, max_length=2)]
    ratio: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    flip: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def ordered(self) -> Self:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"augmentation.{name}: {low} is above {high}")
        return self


class Embed(Strict):
    """Evaluation images: short side to `resize`, centre crop to `crop` (bicubic).

    With `features` what the backbone gives to the head is kept, too, and its recall by cosine is
    measured beside that of the embedding, as Hyp's code does. It takes a second pass over the images.
    """

    resize: Side
    crop: Side
    batch_size: Count
    features: bool = False


class Evaluate(Strict):
    """How embeddings are compared. `unmatched` queries have no other image of their class to find: they count
    as misses in Recall@K, or are left out. MAP@R, not defined for them, leaves them out in either case."""

    metric: Literal["poincare", "cosine"]
    unmatched: Literal["count_as_misses", "leave_out"] = "count_as_misses"


class Runtime(Strict):
    """`kernels` and `threads` fix the order of sums on a CPU, so they are part of the result's identity.

    `portable` kernels round alike on every x86-64 processor with AVX2, `native` ones are the processor's own.

    On a GPU `tf32` lets float32 products keep 10 bits of their mantissa, and `cudnn_benchmark` lets
    cuDNN choose among its deterministic algorithms by their time. `compile` has PyTorch's compiler fuse
    the network's operations while training: the rounding is another, and the first steps take minutes.

    So many `workers` load images. So many `processes` train, each on its share of the sampler's shards, with
    `threads` threads and on a GPU of its own. Neither changes a result.
    """

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "float16", "bfloat16"]
    threads: Count
    kernels: Kernels = "portable"
    workers: CountFromZero
    processes: Count = 1
    tf32: bool = False
    cudnn_benchmark: bool = False
    compile: bool = False


class Run(Strict):
    """One row of the table."""

    dataset: ShortName
    method: ShortName
    seed: Annotated[int, Field(ge=0)]
    backbone: Backbone
    head: Head | None
    loss: Annotated[SerializeAsAny[Loss], BeforeValidator(_own_settings)]
    regularizer: Annotated[NoRegularizer | Hier, Field(discriminator="name")]
    optimizer: Optimizer
    schedule: Schedule
    sampler: Sampler
    augmentation: Augmentation
    embed: Embed
    evaluate: Evaluate
    protocol: Protocol = CORRECTED
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
        self.loss.check(self)
        protocol, epochs = self.protocol, self.schedule.epochs
        if epochs and protocol.choose != "last" and not protocol.test_last:
            every = protocol.test_every
            first = -(-protocol.test_from // every) * every
            if first >= epochs:
                raise ValueError(
                    f"protocol.choose {protocol.choose} has no epoch to choose: the first look is after "
                    f"epoch {first} from 0, of schedule.epochs {epochs}; lower protocol.test_from"
                )
        if (shards := self.sampler.shards) % (processes := self.runtime.processes):
            raise ValueError(
                f"runtime.processes {processes} does not divide sampler.shards {shards}: each process "
                "computes as many shards as the others"
            )
        head, hier = self.head, self.regularizer
        if isinstance(hier, Hier):
            batch = self.sampler.batch_size
            below = f"regularizer.neighbours {hier.neighbours} must be below"
            if hier.neighbours >= batch:
                raise ValueError(f"{below} sampler.batch_size {batch}")
            if hier.neighbours >= hier.proxies:
                raise ValueError(f"{below} regularizer.proxies {hier.proxies}")
            if head is None:
                raise ValueError("the HIER regularizer needs a head")
            if (hier.geometry == "poincare") != (head.curvature > 0):
                raise ValueError(
                    f"regularizer.geometry {hier.geometry} does not go with head.curvature "
                    f"{head.curvature}: the ball needs one above 0, the others 0"
                )
        if self.evaluate.metric == "poincare" and not (head and head.curvature):
            raise ValueError("evaluate.metric poincare needs a head with head.curvature > 0")
        if (crop := self.embed.crop) > (resize := self.embed.resize):
            raise ValueError(f"embed.crop {crop} exceeds embed.resize {resize}")
        return self
