"""Which images make a batch: a pure function of (seed, epoch)."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from hier.config.run import Sampler
from hier.errors import ConfigError
from hier.seeding import numpy_generator


def epoch_batches(labels: NDArray[np.int64], sampler: Sampler, seed: int, epoch: int) -> NDArray[np.int64]:
    """Draw one epoch: batches of n images of each of B/n classes, as many as `steps_per_epoch` says.

    A batch takes its classes without replacement, each class being as likely; where an epoch is one of
    classes, no class comes twice in it (``UniqueClassSempler`` of the Hyp code). The images of a class are
    drawn with replacement (``UniqueClassSampler``, HIER code), or come in shuffled rounds: none is seen twice
    before all are seen once.

    Of `labels`, the class of each training image (int64, N), it gives positions, int64 (steps × B); the
    images of a class stand side by side. Raises ConfigError: fewer images than one batch, or fewer classes
    than it needs."""
    n, size = sampler.images_per_class, sampler.batch_size
    classes, class_of = np.unique(labels, return_inverse=True)
    if len(labels) < size or len(classes) < size // n:
        raise ConfigError(
            f"sampler.batch_size {size} with images_per_class {n} needs {size} images of "
            f"{size // n} classes; the training set has {len(labels)} of {len(classes)}"
        )
    rng = numpy_generator(seed, "sampling", epoch)
    steps = steps_per_epoch(len(labels), len(classes), sampler)
    members = _positions(class_of, len(classes))
    if sampler.epoch == "classes":
        drawn = rng.permutation(len(classes))[: steps * size // n]
    else:
        drawn = np.concatenate([rng.permutation(len(classes))[: size // n] for _ in range(steps)])
    draw = rng.choice if sampler.replacement else partial(_rounds, rng=rng)
    rows = np.empty((len(drawn), n), dtype=np.int64)
    for images, visits in zip(members, _positions(drawn, len(classes)), strict=True):
        rows[visits] = draw(images, len(visits) * n).reshape(-1, n)
    return rows.reshape(steps, size)


def steps_per_epoch(images: int, classes: int, sampler: Sampler) -> int:
    """Batches of an epoch of so many training images or, where that is its measure, classes."""
    drawn = images if sampler.epoch == "images" else classes * sampler.images_per_class
    return drawn // sampler.batch_size


def _positions(numbers: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """Where each of 0 … `most` − 1 stands in `numbers`, ascending; one sort, however many."""
    ends = np.cumsum(np.bincount(numbers, minlength=most))
    return np.split(np.argsort(numbers, kind="stable"), ends[:-1])


def _rounds(items: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The first `size` of endlessly many shuffled rounds of `items`."""
    rounds = -(-size // len(items))
    return np.concatenate([rng.permutation(items) for _ in range(rounds)] or [items])[:size]
