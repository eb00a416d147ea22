"""`hier package`: a trained model in a folder that needs nothing of this project.

The same model and facts give the same bytes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from hier.config.run import Head
from hier.deployment import timm_files
from hier.deployment.card import card
from hier.deployment.model import read_network
from hier.deployment.onnx_graph import can_export, onnx_bytes, require_onnx
from hier.deployment.stored import RECORD, Stored
from hier.errors import ConfigError
from hier.files.atomic import atomic_folder
from hier.geometry.poincare import exp0
from hier.ledger.artifacts import HIERARCHICAL_PROXIES, read_tensors
from hier.models.description import KEY
from hier.progress import track

MODEL, HEAD, PROXIES, ONNX = "model.safetensors", "head.safetensors", "proxies.safetensors", "model.onnx"
CONFIG, HEAD_SETTINGS, PREPROCESSOR, CARD = (
    "config.json",
    "head.json",
    "preprocessor_config.json",
    "README.md",
)
MARKS = (MODEL, CONFIG, HEAD_SETTINGS)
"""What a folder that is a package holds in any case."""


def package(stored: Stored, out: Path) -> list[str]:
    """Write the package of a model; the names of its files.

    Raises MissingOnnxError: see `require_onnx`; ConfigError: `out` is something else than an earlier package;
    TamperedError: a record contradicts the model."""
    require_onnx()
    _refuse_to_replace(out)
    _ = stored.record
    with atomic_folder(out) as folder:
        write_files(stored, folder)
        return sorted(path.name for path in folder.iterdir())


def write_files(stored: Stored, folder: Path) -> None:
    """Write the files of a package, each a function of the model and of what lies in its run's folder;
    model.onnx is left out where it cannot be written."""
    torch.set_num_threads(1)
    network = read_network(stored)
    tensors = read_tensors(stored.path)
    backbone, head = timm_files.split(tensors)
    settings = timm_files.head_settings(stored)
    points = proxies(stored)
    texts: dict[str, Callable[[], bytes]] = {
        MODEL: lambda: save(backbone, {KEY: json.dumps(stored.described, sort_keys=True)}),
        CONFIG: lambda: _json(timm_files.config(stored, network.backbone)),
        HEAD_SETTINGS: lambda: _json(settings),
        PREPROCESSOR: lambda: _json(timm_files.preprocessor(stored)),
        CARD: lambda: card(stored, settings, 0 if points is None else len(points["proxies"])).encode(),
    }
    if head:
        texts[HEAD] = lambda: save(head)
    if points is not None:
        texts[PROXIES] = lambda: save(points)
    if can_export():
        texts[ONNX] = lambda: onnx_bytes(network, stored)  # last: it spends the network
    for name in track(list(texts), f"{stored.run}: packaging"):
        (folder / name).write_bytes(texts[name]())


def proxies(stored: Stored) -> dict[str, torch.Tensor] | None:
    """The hierarchical proxies beside a model: `proxies`, float32 (P×D), as points of the ball where there is
    one, and `parameters`, as they were trained; None without any."""
    path = stored.folder / PROXIES
    stored.vouched(PROXIES, RECORD)
    trained = read_tensors(path).get(HIERARCHICAL_PROXIES) if path.is_file() else None
    if trained is None:
        return None
    return {"proxies": _points(trained, stored.head), "parameters": trained}


def _points(trained: torch.Tensor, head: Head | None) -> torch.Tensor:
    if head is None or not head.curvature:
        return trained
    return exp0(trained, head.curvature, head.clip_radius, riemannian=False)


def is_package(folder: Path) -> bool:
    return all((folder / name).is_file() for name in MARKS)


def _refuse_to_replace(out: Path) -> None:
    """Raise ConfigError where `out` is there and is no package."""
    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not is_package(out):
        raise ConfigError(f"{out} exists and is no package; choose another --out")


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
