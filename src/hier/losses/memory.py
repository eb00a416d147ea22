"""Cross-batch memory (XBM, see xbm.py), from pytorch-metric-learning."""

from typing import cast

import torch
from pytorch_metric_learning import losses
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor, nn


class CrossBatch(nn.Module):
    """Contrastive loss on cosines s, against a memory of the embeddings of the latest batches.

    Mean of [positive_similarity − s]₊ over the pairs of one class where it is above 0, plus mean of
    [s − negative_similarity]₊ over the pairs of two classes likewise. (The XBM code sums over an
    embedding's pairs instead, and adds the same loss on the batch alone.) Pairs are of an embedding
    of the batch and any other of the memory, the batch in it. What is remembered is constant.

    Before step `start` the references are those of the batch alone and nothing is remembered, as
    in the XBM code: at first embeddings drift too fast for old ones to stand for the present ones.

    ``state_dict`` holds memory, place in the queue and step: training goes on from it as if it had
    not stopped.

    Args:
        dim: D, dimension of the embedding.
        memory: embeddings remembered, at least a batch.
        start: the first step, counted from 0, that uses the memory.
        positive_similarity: cosine that pairs of one class should have.
        negative_similarity: cosine that pairs of two classes may have.
    """

    step: Tensor

    def __init__(
        self,
        dim: int,
        *,
        memory: int,
        start: int,
        positive_similarity: float,
        negative_similarity: float,
    ) -> None:
        super().__init__()
        self.start = start
        self.loss = losses.ContrastiveLoss(
            pos_margin=positive_similarity,
            neg_margin=negative_similarity,
            distance=CosineSimilarity(),
        )
        self.memory = losses.CrossBatchMemory(self.loss, dim, memory_size=memory)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings z with B integer labels: a scalar. Counts a step. Raises ValueError: the
        batch is larger than the memory."""
        if len(z) > self.memory.memory_size:
            raise ValueError(f"a batch of {len(z)} does not fit a memory of {self.memory.memory_size}")
        loss = self.memory if int(self.step) >= self.start else self.loss
        self.step += 1
        with torch.autocast(z.device.type, enabled=False):
            value: Tensor = loss(z.to(torch.promote_types(z.dtype, torch.float32)), labels)
        return value

    def get_extra_state(self) -> Tensor:
        """What the library keeps outside of buffers: place in the queue, whether it has been full."""
        return torch.tensor([self.memory.queue_idx, int(self.memory.has_been_filled)])

    def set_extra_state(self, state: object) -> None:
        """Take `get_extra_state` back."""
        place, filled = cast(Tensor, state).tolist()
        self.memory.queue_idx, self.memory.has_been_filled = place, bool(filled)
