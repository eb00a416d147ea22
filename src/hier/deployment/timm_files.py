"""A run's network in the files that timm reads: of the backbone, and of the head beside it."""

from typing import Any

from torch import Tensor, nn

from hier.deployment.stored import Stored
from hier.errors import ConfigError
from hier.geometry.poincare import max_norm

Tensors = dict[str, Tensor]

BACKBONE, HEAD = "backbone.", "head."
"""What the names of a run's tensors begin with."""
IN_TIMM: dict[str, tuple[dict[str, Any], float]] = {
    "timm": ({}, 1.0),
    "avg+max": ({"global_pool": "avgmax"}, 2.0),  # timm's is the mean of the two
}
"""By a run's pooling, what timm is to be told, and by what its features are multiplied then."""


def split(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """The tensors of a run's model: the backbone's by timm's names, and the head's by the head's."""
    parts = ({}, {})  # type: tuple[Tensors, Tensors]
    for part, start in zip(parts, (BACKBONE, HEAD), strict=True):
        part |= {n.removeprefix(start): value for n, value in tensors.items() if n.startswith(start)}
    return parts


def join(backbone: Tensors, head: Tensors) -> Tensors:
    """The tensors of a run's model from its parts."""
    own = {BACKBONE + name: value for name, value in backbone.items()}
    return own | {HEAD + name: value for name, value in head.items()}


def config(stored: Stored, backbone: nn.Module) -> dict[str, Any]:
    """config.json, from which timm makes the backbone; `backbone` is the network itself."""
    own, embed = stored.backbone, stored.embed
    args = dict(_in_timm(stored)[0])
    if getattr(backbone, "dynamic_img_size", False):
        args["dynamic_img_size"] = True
    known = getattr(backbone, "pretrained_cfg", {})
    told = {name: known[name] for name in ("first_conv", "classifier") if known.get(name)}
    return {
        "architecture": own.timm.partition(".")[0],
        "num_classes": 0,
        "num_features": own.features,
        "model_args": args,
        "pretrained_cfg": told
        | {
            "num_classes": 0,
            "input_size": [3, embed.crop, embed.crop],
            "fixed_input_size": False,
            "interpolation": "bicubic",
            "crop_pct": embed.crop / embed.resize,
            "crop_mode": "center",
            "mean": own.mean,
            "std": own.std,
            "license": "other",
        },
    }


def head_settings(stored: Stored) -> dict[str, Any]:
    """head.json: from timm's features to an embedding, and how embeddings are compared."""
    scale = _in_timm(stored)[1]
    told: dict[str, Any] = {"feature_scale": scale, "metric": stored.metric, "dim": stored.dim}
    if (head := stored.head) is None:
        return told
    told |= {"norm": head.norm, "norm_eps": 1e-5, "curvature": head.curvature}
    if head.scale != 1 and not head.learns_scale:
        told["scale"] = head.scale
    if head.curvature:
        told |= {"clip_radius": head.clip_radius, "max_norm": max_norm(head.curvature)}
    return told


def preprocessor(stored: Stored) -> dict[str, Any]:
    """preprocessor_config.json, as image processors of transformers read it."""
    embed, own = stored.embed, stored.backbone
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": embed.resize},
        "resample": 3,  # bicubic
        "do_center_crop": True,
        "crop_size": {"height": embed.crop, "width": embed.crop},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": own.mean,
        "image_std": own.std,
    }


def _in_timm(stored: Stored) -> tuple[dict[str, Any], float]:
    pooling = stored.backbone.pooling
    if pooling not in IN_TIMM:
        raise ConfigError(f"cannot package {stored.run}: timm has no pooling {pooling}")
    return IN_TIMM[pooling]
