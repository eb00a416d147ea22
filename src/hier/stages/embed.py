"""embed: the embeddings of a dataset's test images."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hier.config.run import Embed, Run
from hier.config.suite import Suite
from hier.data.augmentation import centre_crop
from hier.data.store import ImageStore
from hier.models.network import EmbeddingNetwork, build_network
from hier.models.normalise import Normalise
from hier.pipeline import Job
from hier.progress import progress
from hier.provenance.atomic import atomic_file
from hier.stages.images import read_images
from hier.stages.inputs import read_tensors, reading
from hier.training.determinism import make_deterministic


class CentreCrops(Dataset[Tensor]):
    """Images of a store, resized and cropped as in evaluation, uint8 (3×S×S)."""

    def __init__(self, store: ImageStore, rows: NDArray[np.int64], config: Embed) -> None:
        self.store, self.rows, self.config = store, rows, config

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Tensor:
        image = centre_crop(self.store[int(self.rows[position])], self.config)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write runs/<run>/embeddings.safetensors: `embedding` float32 (N×D), `row` of the index int64 (N)."""
    run = suite.run(job.key)
    index_path, store_path, model_path = map(Path, job.inputs)
    index, store = read_images(index_path, store_path)
    rows = np.flatnonzero(index["split"] != "train")
    device = make_deterministic(run.runtime)
    network = build_network(run.backbone, run.head)
    tensors = read_tensors(model_path)
    with reading(model_path):
        network.load_state_dict(tensors)
    embeddings = embed(network.to(device), store, rows, run, device)
    with atomic_file(Path(job.outputs[0])) as path:
        save_file({"embedding": embeddings, "row": torch.from_numpy(rows)}, path)


@torch.inference_mode()
def embed(
    network: EmbeddingNetwork,
    store: ImageStore,
    rows: NDArray[np.int64],
    run: Run,
    device: torch.device,
) -> Tensor:
    """Embeddings of the images at `rows` of the store, float32 (N×D) on the CPU, in that order."""
    network.eval()
    images = CentreCrops(store, rows, run.embed)
    loader = DataLoader(images, batch_size=run.embed.batch_size, num_workers=run.runtime.workers)
    normalise = Normalise(run.backbone.mean, run.backbone.std, device)
    parts = []
    with progress(f"{run.name}: embedding", len(rows)) as shown:
        for batch in loader:
            parts.append(network(normalise(batch)).float().cpu())
            shown.update(len(batch))
    return torch.cat(parts)
