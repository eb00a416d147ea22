"""train: a run's network and proxies, from the dataset's training images."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from hier.config.run import Run
from hier.config.suite import Suite
from hier.errors import ConfigError
from hier.files.atomic import atomic_file
from hier.jobs import Job
from hier.ledger.artifacts import read_images
from hier.models.description import describe_model
from hier.seeding import numpy_generator
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.determinism import make_deterministic
from hier.training.loop import start_network, train
from hier.training.state import History
from hier.training.together import together


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write runs/<run>/model.safetensors, proxies.safetensors and history.csv."""
    run = suite.run(job.key)
    index_path, store_path = map(Path, job.inputs)
    checkpoints = Checkpoints(run.name, content_key)
    proxies: nn.Module = nn.Identity()
    history: History = []
    if run.schedule.epochs:
        index, store = read_images(index_path, store_path)
        rows, held_out = training_rows(index, run)
        labels, classes = np.unique(index["label"].to_numpy()[rows], return_inverse=True)
        images = TrainingImages(store, rows, classes, run)
        recalls = None
        if run.protocol.test_every:  # else the code that finds neighbours is no part of the model's key
            from hier.evaluation.retrieval.while_training import recalls_of

            recalls = recalls_of(run, index, store, held_out, suite.dataset(run.dataset).ks)
        with together(run, images, len(labels), checkpoints) as group:
            network, proxies, history = train(run, images, len(labels), checkpoints, recalls, group)
    else:
        make_deterministic(run.runtime)
        network = start_network(run)
    metadata = describe_model(run, suite.dataset(run.dataset), content_key, network.weights_sha256)
    with ExitStack() as whole:
        model_file, proxies_file, history_file = (
            whole.enter_context(atomic_file(Path(path))) for path in job.outputs
        )
        save_file(tensors(network), model_file, metadata)
        save_file(tensors(proxies), proxies_file)
        write_history(history, history_file)


def training_rows(index: pd.DataFrame, run: Run) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the index to learn from, and those of training classes that are held out."""
    rows = np.flatnonzero(index["split"] == "train")
    labels = index["label"].to_numpy()[rows]
    classes = np.unique(labels)
    share = run.protocol.held_out_classes
    apart = round(share * len(classes))
    if share and not 0 < apart < len(classes):
        raise ConfigError(
            f"protocol.held_out_classes {share:g} is {apart} of the {len(classes)} training classes "
            f"of {run.dataset}; some must be held out and some must be left"
        )
    drawn = numpy_generator(run.seed, "held-out classes").permutation(classes)[:apart]
    is_apart = np.isin(labels, drawn)
    return rows[~is_apart], rows[is_apart]


def tensors(module: nn.Module) -> dict:
    """A module's parameters and buffers, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def write_history(history: History, path: Path) -> None:
    """One row per epoch: the mean of each term of the loss, the factor on the rates, recalls if any."""
    table = pd.DataFrame(history) if history else pd.DataFrame(columns=["epoch", "loss", "rate"])
    table.to_csv(path, index=False, lineterminator="\n")
