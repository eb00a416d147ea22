"""XBM: cross-batch memory around the contrastive loss on cosines (Wang et al., CVPR 2020)."""

from typing import Annotated, Any

from pydantic import Field

from hier.config.run import Count, CountFromZero, Loss, Run

Cosine = Annotated[float, Field(ge=-1, le=1)]


class Settings(Loss):
    """`memory` embeddings of earlier batches serve as references, from step `start` of training on."""

    memory: Count
    start: CountFromZero
    positive_similarity: Cosine
    negative_similarity: Cosine

    paper_name = "XBM"
    learns_proxies = False
    on_sphere = True

    def check(self, run: Run) -> None:
        if self.memory < run.sampler.batch_size:
            raise ValueError(
                f"loss.memory {self.memory} must not be below sampler.batch_size {run.sampler.batch_size}"
            )


def build(settings: Settings, dim: int, **_: Any) -> Any:
    from hier.losses.memory import CrossBatch

    return CrossBatch(dim, **settings.model_dump(exclude={"name"}))
