"""One rate of a run on a machine."""

from typing import Annotated

from pydantic import Field, PositiveFloat

from hier.config.base import Strict


class Rate(Strict):
    """Images per second of a training step and of evaluation, and where and when they were measured.

    Of a run that is not trained there is no rate of training.
    """

    training: PositiveFloat | None
    embedding: PositiveFloat
    device: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
