"""Tiny trainings: a made-up store of eight colours, and what a run of it leaves behind."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from hier.config.compose import compose
from hier.data.store import ImageStore
from hier.stages.train import tensors, write_history
from hier.training.batches import TrainingImages
from hier.training.checkpoint import Checkpoints
from hier.training.loop import train
from hier.training.together import together

CONF = Path(__file__).parents[2] / "conf"
CLASSES, PER_CLASS, SIZE = 8, 6, 16
SETTINGS = [
    "suite=smoke",
    "augmentation.size=16",
    "sampler.batch_size=16",
    "runtime.device=cpu",
    "schedule.epochs=3",
    "methods=[pa,ms,hyp,hier]",
]
STEPS = CLASSES * PER_CLASS // 16


def tiny_runs(*overrides):
    """Runs by method: three epochs of three steps, the first with a frozen backbone."""
    return {run.method: run for run in compose([*SETTINGS, *overrides], CONF).runs.values()}


def make_store(folder):
    """Six images of each class: its colour, with noise. Returns the store and the classes."""
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (CLASSES, 3))
    colours = np.repeat(colours, PER_CLASS, axis=0)
    noise = rng.integers(-40, 40, (len(colours), SIZE, SIZE, 3))
    pixels = (colours[:, None, None] + noise).astype(np.uint8)
    path = folder / "images.npy"
    np.save(path, pixels.ravel())
    index = pd.DataFrame({"height": SIZE, "width": SIZE, "offset": np.arange(len(pixels)) * 768})
    return ImageStore(path, index), np.arange(CLASSES).repeat(PER_CLASS)


def images_of(store, run):
    pictures, classes = store
    return TrainingImages(pictures, np.arange(len(classes)), classes, run)


def changed(run, **groups):
    """The run with keys of its groups replaced, e.g. runtime={"workers": 2}."""
    return run.model_copy(
        update={name: getattr(run, name).model_copy(update=keys) for name, keys in groups.items()}
    )


def trained(run, store, folder, identity="same", **settings):
    """(network, proxies, history) of a run; `settings` are those of its checkpoints."""
    checkpoints = Checkpoints(run.name, identity, folder, **settings)
    images = images_of(store, run)
    with together(run, images, CLASSES, checkpoints) as group:
        network, objective, history = train(run, images, CLASSES, checkpoints, group=group)
    return tensors(network), tensors(objective), history


def trained_bytes(run, store, folder, identity="same", **settings):
    """The bytes of the three files that the stage would write."""
    network, proxies, history = trained(run, store, folder, identity, **settings)
    path = Path(folder) / "history.csv"
    write_history(history, path)
    return save(network), save(proxies), path.read_bytes()


@contextmanager
def torch_as_before():
    """Leave torch's global settings and generator as they were."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    with torch.random.fork_rng():
        threads = torch.get_num_threads()
        filled = torch.utils.deterministic.fill_uninitialized_memory
        flags = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
        yield
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = flags
        torch.set_num_threads(threads)
