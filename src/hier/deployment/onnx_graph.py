"""A run's network as an ONNX graph, from pixels to the embedding; the same bytes each time.

It needs the extra `package`, which nothing else does.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from hier.deployment.stored import Stored
from hier.errors import HierError
from hier.ledger.environment import versions
from hier.models.network import EmbeddingHead, EmbeddingNetwork

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
INPUT, OUTPUT = "pixel_values", "embedding"
NEEDED = ("onnx", "onnxscript")
MADE_WITH = "made_with"


class MissingOnnxError(HierError):
    """The packages that write ONNX are not installed."""


def can_export() -> bool:
    """Whether what is needed is installed."""
    return all(map(find_spec, NEEDED))


def require_onnx() -> None:
    """Raises MissingOnnxError: a package that is needed is not installed."""
    if not can_export():
        lacking = next(name for name in NEEDED if not find_spec(name))
        raise MissingOnnxError(f"{lacking} is not installed; install it with: pip install onnx onnxscript")


@torch.no_grad()
def onnx_bytes(network: EmbeddingNetwork, stored: Stored) -> bytes:
    """model.onnx: `pixel_values` (B×3×S×S, float32, normalised) → `embedding` (B×D). The network is the
    stored one, which cannot be used for anything else afterwards."""
    require_onnx()
    _simplify(network, stored)
    pixels = torch.zeros(2, 3, stored.embed.crop, stored.embed.crop)
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # they are of the exporter's own code
        made = torch.onnx.export(
            network.eval(), (pixels,), dynamo=True, opset_version=OPSET, input_names=[INPUT],
            output_names=[OUTPUT], dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), verbose=False,
        )  # fmt: skip
    assert made is not None
    return _bare(made.model_proto).SerializeToString(deterministic=True)


def _simplify(network: EmbeddingNetwork, stored: Stored) -> None:
    """Leave out what concerns training alone, and what is one operation less elsewhere."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.__class__ = nn.Linear
        if isinstance(module, EmbeddingHead):
            module.config = module.config.model_copy(update={"riemannian": False})
    if getattr(network.backbone, "dynamic_img_size", False):  # ONNX has no such interpolation
        size = (stored.embed.crop, stored.embed.crop)
        network.backbone.set_input_size(img_size=size)  # type: ignore[operator]


def made_with() -> str:
    """The packages on which the bytes of a graph depend, with their versions."""
    return ", ".join(f"{name} {version}" for name, version in versions(("torch", *NEEDED)).items())


def told_in(path: Path) -> str:
    """What a graph says that it was made with; "" where it says nothing or cannot be read."""
    import onnx

    with suppress(Exception):  # whatever a damaged file leads protobuf to
        told = onnx.load(path, load_external_data=False).metadata_props
        return next((each.value for each in told if each.key == MADE_WITH), "")
    return ""


def _bare(model: "ModelProto") -> "ModelProto":
    """The graph alone, without what tells of the code and the machine that made it."""
    graph = model.graph
    model.producer_name = model.producer_version = ""
    graph.ClearField("value_info")
    for each in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    model.metadata_props.add(key=MADE_WITH, value=made_with())
    return model


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Some loggers say nothing below an error while the block runs."""
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
