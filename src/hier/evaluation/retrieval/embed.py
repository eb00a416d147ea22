"""Embeddings of images, as evaluation sees them."""

from collections.abc import Sequence

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

LEAST, TURN = 16, 4
"""Images in a batch at least, and a divisor of their number: for fewer images, and for those that are left
over, PyTorch takes other kernels on a CPU, which round in another order."""


class CentreCrops(Dataset[Tensor]):
    """Images of a store, resized and cropped as in evaluation, uint8 (S×S×3)."""

    def __init__(self, store: ImageStore, config: Embed) -> None:
        self.store, self.config = store, config

    def __getitem__(self, row: int) -> Tensor:
        return centre_crop(self.store[row], self.config)


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
    normalise = Normalise(run.backbone.mean, run.backbone.std, device)
    images, positions = CentreCrops(store, run.embed), [int(row) for row in rows]
    size, workers, title = run.embed.batch_size, run.runtime.workers, f"{run.name}: embedding"
    return embed_images(network, images, positions, normalise, size, workers, title, features)


@torch.inference_mode()
def embed_images(
    network: EmbeddingNetwork,
    images: Dataset[Tensor],
    positions: Sequence[int],
    normalise: Normalise,
    batch_size: int,
    workers: int,
    title: str,
    features: bool = False,
) -> Tensor:
    """Embeddings, float32 (N×D) on the CPU, of the images (uint8 S×S×3) at N `positions`, in that order; or
    the `features` that the head gets (N×F).

    On a CPU, an image's embedding has the same bytes whatever else is embedded with it. `title` is what the
    progress is called. Raises HierError: an image cannot be loaded."""
    mapping = network.eval().features if features else network.eval()
    parts = []
    with progress(title, len(positions)) as shown:
        for batch in batches(images, positions, batch_size, workers):
            parts.append(mapping(normalise(_filled(batch))).float().cpu()[: len(batch)])
            shown.update(len(batch))
    return torch.cat(parts)


def _filled(batch: Tensor) -> Tensor:
    """A batch with its last image repeated, where LEAST and TURN ask for more."""
    missing = max(LEAST - len(batch), -len(batch) % TURN)
    return torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)]) if missing else batch
