"""Losses of pytorch-metric-learning, computed in float32 or more."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn


class LibraryLoss(nn.Module):
    """The library's loss of a name. It sees float32 at least, whatever autocast says."""

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__()
        self.loss: nn.Module = getattr(losses, name)(**settings)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings z with B integer labels: a scalar."""
        with torch.autocast(z.device.type, enabled=False):
            value: Tensor = self.loss(z.to(self._dtype(z)), labels)
        return value

    def _dtype(self, z: Tensor) -> torch.dtype:
        """Of the embeddings that the library gets."""
        return torch.promote_types(z.dtype, torch.float32)


class ProxyLoss(LibraryLoss):
    """A loss for `num_classes` classes and embeddings of length `dim` that learns proxies, its parameter
    `proxies`, which `start` fills.
    """

    def __init__(
        self,
        name: str,
        num_classes: int,
        dim: int,
        proxies: str,
        start: Callable[[Tensor], Tensor],
        **settings: Any,
    ) -> None:
        sizes = {"num_classes": num_classes, "embedding_size": dim}
        super().__init__(name, **sizes, weight_init_func=start, **settings)
        self._name = proxies

    @property
    def proxies(self) -> nn.Parameter:
        """The parameter, float32; its shape is the loss's own."""
        proxies: nn.Parameter = getattr(self.loss, self._name)
        return proxies

    def _dtype(self, z: Tensor) -> torch.dtype:
        """That of the proxies, which the library would cast in place to that of the embeddings."""
        return self.proxies.dtype
