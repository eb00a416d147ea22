"""train: a run's network and proxies, from the dataset's training images."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import save_file
from torch import nn

from hier.config.suite import Suite
from hier.pipeline import Job
from hier.provenance.atomic import atomic_file
from hier.stages.images import read_images
from hier.training.checkpoint import Checkpoints
from hier.training.determinism import make_deterministic
from hier.training.images import TrainingImages
from hier.training.loop import History, start_network, train


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write runs/<run>/model.safetensors, proxies.safetensors and history.csv."""
    run = suite.run(job.key)
    index_path, store_path = map(Path, job.inputs)
    checkpoints = Checkpoints(run.name, identity)
    proxies: nn.Module = nn.Identity()
    history: History = []
    if run.schedule.epochs:
        index, store = read_images(index_path, store_path)
        rows = np.flatnonzero(index["split"] == "train")
        labels, classes = np.unique(index["label"].to_numpy()[rows], return_inverse=True)
        images = TrainingImages(store, rows, classes, run)
        network, proxies, history = train(run, images, len(labels), checkpoints)
    else:
        make_deterministic(run.runtime)
        network = start_network(run)
    with ExitStack() as whole:
        model_file, proxies_file, history_file = (
            whole.enter_context(atomic_file(Path(path))) for path in job.outputs
        )
        save_file(tensors(network), model_file)
        save_file(tensors(proxies), proxies_file)
        write_history(history, history_file)
    checkpoints.clear()


def tensors(module: nn.Module) -> dict:
    """A module's parameters and buffers, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def write_history(history: History, path: Path) -> None:
    """One row per epoch: the mean of each term of the loss, and the factor on the rates."""
    columns = list(history[0]) if history else ["epoch", "loss", "rate"]
    pd.DataFrame(history, columns=columns).to_csv(path, index=False, lineterminator="\n")
