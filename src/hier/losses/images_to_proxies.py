"""The module of ProxyNCA as the HIER code has it, see pnca_hier.py."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize


class ImagesToProxies(nn.Module):
    """Each image against the proxies of all classes, `proxies` (C×D, float32), of which directions alone
    matter."""

    def __init__(
        self, num_classes: int, dim: int, margin: float, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.empty(num_classes, dim))
        nn.init.kaiming_normal_(self.proxies, mode="fan_out", generator=generator)
        self.margin, self.alpha = margin, alpha

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Loss of B×D embeddings z with B labels 0 … C−1: a scalar, at least float32."""
        with torch.autocast(z.device.type, enabled=False):
            cosines = normalize(z.to(self.proxies.dtype)) @ normalize(self.proxies).T
            own = cosines.gather(1, labels[:, None])
            is_own = nn.functional.one_hot(labels, len(self.proxies)).bool()
            others = (self.alpha * (cosines + self.margin)).masked_fill(is_own, -torch.inf)
            # log(1 + exp x) = −log σ(−x)
            pull = logsigmoid(self.alpha * (own - self.margin)).mean()
            return -pull - logsigmoid(-others.logsumexp(1)).mean()
