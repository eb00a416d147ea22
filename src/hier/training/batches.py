"""Batches of training images, whatever the number of loader workers."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hier.config.run import Run
from hier.data.augmentation import augment
from hier.data.loading import batches
from hier.data.sampling import epoch_batches, steps_per_epoch
from hier.data.store import ImageStore
from hier.models.normalise import Normalise
from hier.seeding import numpy_generator, torch_generator


class AugmentedImages(Dataset[Tensor]):
    """One epoch's images in the order of its batches, each augmented by a generator of its own.

    The generator is a function of (seed, epoch, position), so that no worker's state matters.
    """

    def __init__(self, store: ImageStore, rows: NDArray[np.int64], run: Run, epoch: int) -> None:
        self.store, self.rows, self.run, self.epoch = store, rows, run, epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Tensor:
        """The augmented image at `position` of the epoch, uint8 (S×S×3)."""
        rng = numpy_generator(self.run.seed, "augmentation", self.epoch, position)
        return augment(self.store[int(self.rows[position])], self.run.augmentation, rng)


class TrainingImages:
    """Batches of normalised images and their classes, epoch by epoch: of the rows of the store that are
    training images (int64, N), whose classes are 0 … C−1 (int64, N)."""

    def __init__(
        self, store: ImageStore, rows: NDArray[np.int64], classes: NDArray[np.int64], run: Run
    ) -> None:
        self.store, self.rows, self.classes, self.run = store, rows, classes, run
        self.steps = steps_per_epoch(len(rows), len(np.unique(classes)), run.sampler)

    def epoch(
        self,
        epoch: int,
        device: torch.device,
        start: int = 0,
        stop: Callable[[], bool] = lambda: False,
        part: slice = slice(None),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images B×3×S×S float32, classes B int64) on `device`, from step `start` on; of the images
        only a `part` of each batch, where another is asked for.

        torch's own generator is not drawn from: the workers' seeds come from one with a name. Raises
        HierError: a loader worker failed, or `stop` says so while it is waited for; see `batches`."""
        chosen = epoch_batches(self.classes, self.run.sampler, self.run.seed, epoch)
        images = AugmentedImages(self.store, self.rows[chosen.ravel()], self.run, epoch)
        left = np.arange(len(images)).reshape(chosen.shape)[start:, part]  # positions of the epoch
        loaded = batches(
            images,
            left.ravel().tolist(),
            left.shape[1],
            self.run.runtime.workers,
            stop,
            torch_generator(self.run.seed, "loader", epoch),
            pin_memory=device.type == "cuda",
        )
        normalise = Normalise(self.run.backbone.mean, self.run.backbone.std, device)
        for batch, positions in zip(loaded, chosen[start:], strict=True):
            classes = torch.from_numpy(self.classes[positions])
            yield normalise(batch), classes.to(device, non_blocking=True)
