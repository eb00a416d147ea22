"""The embedding network: backbone → head → Poincaré ball (paper, section 4.1)."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hier.config.run import Backbone, Head
from hier.errors import ConfigError
from hier.geometry.poincare import exp0
from hier.models import torchvision_ops
from hier.models.token_linear import speed_up_tokens
from hier.models.weights import load_weights
from hier.registry import POOLINGS


class EmbeddingHead(nn.Module):
    """LayerNorm without affine, if any → Linear (orthogonal weight, zero bias) → × scale → ball of
    curvature −c.

    LayerNorm gives a norm of √F, of which an orthogonal map keeps √(D/F): at the start ‖u‖ ≈ scale · √D.
    """

    def __init__(self, features: int, config: Head) -> None:
        super().__init__()
        has_norm = config.norm == "layer_norm"
        self.norm = nn.LayerNorm(features, elementwise_affine=False) if has_norm else nn.Identity()
        self.linear = nn.Linear(features, config.dim)
        nn.init.orthogonal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.scale = nn.Parameter(torch.tensor(config.scale)) if config.learns_scale else config.scale
        self.config = config

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B×F) to embeddings (B×D, at least float32), on the ball where c > 0."""
        u = self.scale * self.linear(self.norm(features))
        # The map into the ball and every distance need more than half precision.
        u = u if u.dtype == torch.float64 else u.float()
        if not self.config.curvature:
            return u
        with torch.autocast(u.device.type, enabled=False):
            return exp0(u, self.config.curvature, self.config.clip_radius, self.config.riemannian)


class EmbeddingNetwork(nn.Module):
    """A timm backbone and, unless `head` is null, a head. Without one, features are embeddings.

    `weights_sha256` is the hash of the pretrained weights that it starts from, None without any.
    """

    weights_sha256: str | None = None

    def __init__(self, backbone: nn.Module, head: nn.Module | None, batch_norm: str = "train") -> None:
        super().__init__()
        self.backbone, self.head = backbone, head if head is not None else nn.Identity()
        norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
        self.norms_in_eval = norms if batch_norm != "train" else []
        for module in norms if batch_norm == "frozen" else []:
            module.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B×3×H×W) to embeddings (B×D)."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the backbone makes of normalised images (B×3×H×W): features (B×F)."""
        features = self.backbone(images)
        # Distilled DeiT in training gives the CLS token, then the distillation token.
        return features[0] if isinstance(features, tuple) else features

    def train(self, mode: bool = True) -> "EmbeddingNetwork":
        """Training mode; batch norms that are not to learn statistics keep to those they have."""
        super().train(mode)
        for module in self.norms_in_eval:
            module.eval()
        return self


class _Undrawn(TorchFunctionMode):
    """While it is on, a tensor that is to be filled with random numbers stays as it is.

    Drawing 22 million weights takes longer than all else about a network that is only loaded.
    """

    # PyTorch gives three of its starts to a mode whole; erfinv_ is the second half of a cut normal.
    STARTS = (nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)
    FILLING = (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in self.STARTS:
            return (kwargs or {})["tensor"]
        return args[0] if func in self.FILLING else func(*args, **(kwargs or {}))


def build_network(
    config: Backbone, head: Head | None, pretrained: bool = True, drawn: bool = True
) -> EmbeddingNetwork:
    """The network at its start; random weights come from torch's global generator.

    Args:
        pretrained: whether to load the backbone's weights, where it has any; none are drawn then.
        drawn: whether to draw the backbone's random weights; false (they hold anything then) for a
            network that gets a whole trained state at once.

    Raises ConfigError: timm has no such model, its features have another length, or `freeze` names something
    that it does not have; WeightsError: see `load_weights`."""
    weights = config.weights if pretrained else None
    with nullcontext() if drawn and not weights else _Undrawn():
        backbone = _timm_model(config)
    found = load_weights(backbone, weights) if weights else None
    for prefix in config.freeze:
        _freeze(backbone, prefix, config)
    top = EmbeddingHead(config.features, head) if head else None
    network = EmbeddingNetwork(backbone, top, config.batch_norm)
    network.weights_sha256 = found
    speed_up_tokens(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _timm_model(config: Backbone) -> nn.Module:
    torchvision_ops.ensure()
    import timm

    create = partial(timm.create_model, config.timm, pretrained=False, num_classes=0)
    try:
        if not timm.is_model(config.timm):  # a folder or an address, which timm would take, too
            raise RuntimeError(f"unknown model {config.timm}")
        try:  # transformers take images of any size: their positions are interpolated
            backbone = create(dynamic_img_size=True)
        except TypeError:  # other networks do so by themselves, and have no such option
            backbone = create()
    except RuntimeError as error:
        near = ", ".join(timm.list_models(f"*{config.timm.split('_')[0]}*")[:5]) or "none alike"
        raise ConfigError(
            f"backbone.timm: timm has no model '{config.timm}' (alike: {near}); see timm.list_models()"
        ) from error
    if backbone.num_features != config.features:
        raise ConfigError(
            f"backbone.features: {config.timm} gives {backbone.num_features}, "
            f"conf/backbone/{config.name}.yaml says {config.features}"
        )
    POOLINGS.module(config.pooling).pool(backbone, config.timm)
    if set_distilled_training := getattr(backbone, "set_distilled_training", None):
        set_distilled_training(True)
    return backbone


def _freeze(backbone: nn.Module, prefix: str, config: Backbone) -> None:
    frozen = [p for n, p in backbone.named_parameters() if n.startswith(f"{prefix}.")]
    if not frozen:
        raise ConfigError(f"backbone.freeze: {config.timm} has no module '{prefix}' with parameters")
    for parameter in frozen:
        parameter.requires_grad_(False)
