"""HIER as a ledger of results: a matrix of runs, a pipeline that fills it, a verifier that grades it."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from hier.deployment.model import Model

__version__ = "0.1.0"


def load(run: "str | Path", threads: int = 1, device: Literal["auto", "cpu", "cuda"] = "auto") -> "Model":
    """A trained model, to be used on images of one's own: `hier.load("runs/RUN").embed("photos")`.

    Its bytes are held against the record beside it; what cannot be proved is a warning each, and stands in
    its `card`. To get the bytes that a run got, load it before torch or NumPy.

    Args:
        run: the folder of a run, or its model.safetensors; both work anywhere.
        threads: that a CPU computes with, on which the last bits of an embedding depend.
        device: `auto` is a GPU where there is one.

    Raises MissingInputError: there is no model; DamagedInputError: it cannot be read; TamperedError: a record
    contradicts it; ConfigError: the folder is none of a run, or a GPU is asked for and there is none."""
    from hier.deployment.load import load as load_model

    return load_model(run, threads, device)
