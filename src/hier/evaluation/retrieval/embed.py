"""Embeddings of stored images, as evaluation sees them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hier.config.run import Embed, Run
from hier.data.augmentation import centre_crop
from hier.data.loading import batches
from hier.data.store import ImageStore
from hier.models.network import EmbeddingNetwork
from hier.models.normalise import Normalise
from hier.progress import progress


class CentreCrops(Dataset[Tensor]):
    """Images of a store, resized and cropped as in evaluation, uint8 (S×S×3)."""

    def __init__(self, store: ImageStore, config: Embed) -> None:
        self.store, self.config = store, config

    def __getitem__(self, row: int) -> Tensor:
        return centre_crop(self.store[row], self.config)


@torch.inference_mode()
def embed(
    network: EmbeddingNetwork,
    store: ImageStore,
    rows: NDArray[np.int64],
    run: Run,
    device: torch.device,
    features: bool = False,
) -> Tensor:
    """Embeddings of the images at `rows` of the store, float32 (N×D) on the CPU, in that order; or the
    `features` that the head gets (N×F)."""
    mapping = network.eval().features if features else network.eval()
    images = CentreCrops(store, run.embed)
    positions = [int(row) for row in rows]
    loaded = batches(images, positions, run.embed.batch_size, run.runtime.workers)
    normalise = Normalise(run.backbone.mean, run.backbone.std, device)
    parts = []
    with progress(f"{run.name}: embedding", len(rows)) as shown:
        for batch in loaded:
            parts.append(mapping(normalise(batch)).float().cpu())
            shown.update(len(batch))
    return torch.cat(parts)
