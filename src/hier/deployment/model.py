"""A trained model that embeds images of one's own, and compares embeddings as its run does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hier.config.run import Runtime
from hier.deployment.images import Pictures, Source, Sources, list_sources
from hier.deployment.neighbours import Floats, Integers, distances, nearest_items
from hier.deployment.stored import RECORD, Stored
from hier.errors import ConfigError, DamagedInputError
from hier.evaluation.retrieval.embed import embed_images
from hier.kernels import kernels_in_use
from hier.ledger.artifacts import read_tensors
from hier.models.network import EmbeddingNetwork, build_network
from hier.models.normalise import Normalise
from hier.training.determinism import make_deterministic

METRICS, VIEWS = "metrics.json", "views.json"


class Model:
    """A run's network, and what is known of it. See :func:`hier.load`.

    `name` is the run's, `dim` the length D of an embedding, `metric` poincare or cosine, `curvature` c of the
    ball (None for cosines), `size` the side S of the square that the network sees, in pixels. `levels` are
    the names of the levels of its classes, finest first, None where nothing beside it says them. `unproved`
    are lines on what cannot be proved.
    """

    def __init__(
        self, stored: Stored, threads: int = 1, device: Literal["auto", "cpu", "cuda"] = "auto"
    ) -> None:
        self.stored, self.name, self.dim = stored, stored.run, stored.dim
        self.metric, self.curvature, self.size = stored.metric, stored.curvature, stored.embed.crop
        self.runtime = Runtime(device=device, precision="float32", threads=threads, workers=0)
        record = stored.record  # first: what it contradicts is not loaded
        with self._as_in_a_run() as self.device:
            self.network = read_network(stored).to(self.device)
        self.unproved = stored.unproved(threads, kernels_in_use(), self.device.type)
        self.proved = [] if record is None else [f"{stored.path.name} is the bytes that {RECORD} says"]

    def embed(self, images: Sources, batch_size: int | None = None, workers: int = 0) -> NDArray[np.float32]:
        """Embeddings, N×D, points of the ball where the run has one.

        Args:
            images: a path, an image of PIL, an array (H×W×3, uint8), several of these, or a folder, whose
                photos come in the order of their paths.
            batch_size: images at a time, by default as many as in the run; it changes no bit of a CPU's.
            workers: processes that read images, 0 for none of its own.

        Raises PictureError: an image cannot be read; ConfigError: it is none, or there is none.
        """
        sources = list_sources(images)
        pictures, size = Pictures(sources, self.stored), batch_size or self.stored.embed.batch_size
        with self._as_in_a_run():
            found = embed_images(
                self.network, pictures, range(len(sources)), self._normalise(), size, workers,
                f"{self.name}: embedding",
            )  # fmt: skip
        return found.numpy()

    def preprocess(self, image: Source) -> NDArray[np.float32]:
        """An image as the network takes it, 3×S×S: what model.onnx of a package takes, too."""
        pixels = Pictures([image], self.stored)[0][None]
        return np.ascontiguousarray(self._normalise()(pixels)[0].cpu().numpy())

    def distance(self, x: Floats, y: Floats) -> NDArray[np.float64]:
        """Of every x (N×D) to every y (M×D), N×M: on the ball, or 1 − cosine."""
        self._see_that_they_are_its(x, y)
        return distances(x, y, self.metric, self.curvature)

    def nearest(
        self, query: Floats, gallery: Floats | None = None, k: int = 8
    ) -> tuple[Integers, NDArray[np.float64]]:
        """The k nearest items of a gallery (M×D) to each query (N×D), exactly, the nearest first: their
        numbers and their distances, both N×k. Without a gallery queries search each other."""
        self._see_that_they_are_its(query, query if gallery is None else gallery)
        if gallery is None:
            return nearest_items(query, query, k, self.metric, self.curvature, np.arange(len(query)))
        return nearest_items(query, gallery, k, self.metric, self.curvature)

    def _see_that_they_are_its(self, *embeddings: Floats) -> None:
        """Raise ConfigError where embeddings are of another length than the model's."""
        for each in embeddings:
            if np.ndim(each) != 2 or np.shape(each)[1] != self.dim:
                shape = "×".join(map(str, np.shape(each)))
                raise ConfigError(f"{self.name} has embeddings N×{self.dim}, and these are {shape}")

    @property
    def levels(self) -> list[str] | None:
        found = self._beside(METRICS).get("hierarchy", {}).get("levels")
        return found or self._beside(VIEWS).get("levels")

    @property
    def card(self) -> dict[str, Any]:
        """What the model says of itself, the metrics beside it (None without), what was proved of it, and
        what could not be, a line each."""
        metrics = self._beside(METRICS) or None
        told = {"description": self.stored.described, "metrics": metrics}
        return told | {"proved": self.proved, "unproved": self.unproved}

    def _beside(self, name: str) -> dict[str, Any]:
        """A JSON file of the run's folder; nothing where it is not there or cannot be read."""
        with suppress(OSError, ValueError):
            found = json.loads((self.stored.folder / name).read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def _normalise(self) -> Normalise:
        return Normalise(self.stored.backbone.mean, self.stored.backbone.std, self.device)

    @contextmanager
    def _as_in_a_run(self) -> Iterator[torch.device]:
        """Compute as a stage does while the block runs; a user's own settings of torch come back."""
        cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        mode, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
        switches = (cudnn.benchmark, cudnn.allow_tf32, cuda.allow_tf32)
        try:
            yield make_deterministic(self.runtime)
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.set_num_threads(threads)
            cudnn.benchmark, cudnn.allow_tf32, cuda.allow_tf32 = switches


def read_network(stored: Stored) -> EmbeddingNetwork:
    """A run's network with its weights, on the CPU, for evaluation.

    Raises DamagedInputError: they are not those of the network that they say they are of."""
    network = build_network(stored.backbone, stored.head, pretrained=False, drawn=False)
    tensors = read_tensors(stored.path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise DamagedInputError(stored.path, f"hier train {stored.run}", error) from error
    return network.eval()
