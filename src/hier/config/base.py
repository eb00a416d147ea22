"""The strictness that every configuration shares."""

from pydantic import BaseModel, ConfigDict

LARGEST = 1_000_000  # a slip of the finger, else, would fill the memory or never end


class Strict(BaseModel):
    """A frozen model in which an unknown key is an error and no type is silently converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
