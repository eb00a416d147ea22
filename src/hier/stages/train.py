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
from hier.data.store import ImageStore
from hier.errors import ConfigError
from hier.evaluation.retrieval.embed import embed
from hier.evaluation.retrieval.queries_and_gallery import Retrieval, require_matches
from hier.files.atomic import atomic_file
from hier.ledger.artifacts import read_images
from hier.models.network import EmbeddingNetwork
from hier.pipeline import Job
from hier.seeding import numpy_generator
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.determinism import make_deterministic
from hier.training.loop import start_network, train
from hier.training.model_selection import Recalls
from hier.training.state import History


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write runs/<run>/model.safetensors, proxies.safetensors and history.csv."""
    run = suite.run(job.key)
    index_path, store_path = map(Path, job.inputs)
    checkpoints = Checkpoints(run.name, identity)
    proxies: nn.Module = nn.Identity()
    history: History = []
    if run.schedule.epochs:
        index, store = read_images(index_path, store_path)
        rows, held_out = training_rows(index, run)
        labels, classes = np.unique(index["label"].to_numpy()[rows], return_inverse=True)
        images = TrainingImages(store, rows, classes, run)
        recalls = recalls_of(run, index, store, held_out, suite.dataset(run.dataset).ks)
        network, proxies, history = train(run, images, len(labels), checkpoints, recalls)
    else:
        make_deterministic(run.runtime)
        network = start_network(run)
    started_from = network.weights_sha256
    metadata = {"weights_sha256": started_from} if started_from else None
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


def recalls_of(
    run: Run, index: pd.DataFrame, store: ImageStore, held_out: NDArray[np.int64], ks: list[int]
) -> Recalls:
    """Recall of a network on the test classes (1 and every K) and on the held-out ones (R@1).

    Raises:
        ConfigError: on a side that training looks at, no query can be right.
    """
    ks = sorted({1, *ks})  # the epoch is chosen by R@1
    test = np.flatnonzero(index["split"] != "train")
    sides = {"test": (test, ks)} | ({"held-out": (held_out, [1])} if len(held_out) else {})
    if run.protocol.test_every:
        for side, (rows, _) in sides.items():
            require_matches(index.iloc[rows], run, side)

    def recalls(network: EmbeddingNetwork) -> dict[str, float]:
        device = next(network.parameters()).device
        found: dict[str, float] = {}
        for side, (rows, side_ks) in sides.items():
            retrieval = Retrieval(embed(network, store, rows, run, device), index.iloc[rows], run)
            shares = retrieval.class_recall(side_ks)
            found |= {f"{side} R@{k}": share for k, share in shares.items()}
        return found

    return recalls


def tensors(module: nn.Module) -> dict:
    """A module's parameters and buffers, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}


def write_history(history: History, path: Path) -> None:
    """One row per epoch: the mean of each term of the loss, the factor on the rates, recalls."""
    columns = list(history[-1]) if history else ["epoch", "loss", "rate"]
    pd.DataFrame(history, columns=columns).to_csv(path, index=False, lineterminator="\n")
