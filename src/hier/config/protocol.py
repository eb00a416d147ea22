"""When a run is looked at, which of its epochs is reported, and how that is measured."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hier.config.base import LARGEST, Strict

CountFromZero = Annotated[int, Field(ge=0, le=LARGEST)]


class Protocol(Strict):
    """How a result is chosen and measured; conf/protocol/official.yaml says what the released code does.

    Recall is looked at after epoch e, counted from 0, where e is at least `test_from` and a multiple of
    `test_every` (0: never), and with `test_last` after the last one, too.
    """

    name: Literal["corrected", "official"]
    k_may_equal_i: bool
    masks_gallery_of_query: bool
    choose: Literal["last", "best_on_test", "held_out"]  # the epoch that is reported
    held_out_classes: Annotated[float, Field(ge=0, lt=1)]  # share of training classes, for that
    test_every: CountFromZero
    test_from: CountFromZero = 0
    test_last: bool = True

    @model_validator(mode="after")
    def looks(self) -> Self:
        if self.choose != "last" and not self.test_every:
            raise ValueError(f"protocol.choose {self.choose} needs protocol.test_every of 1 or more")
        if (self.choose == "held_out") != (self.held_out_classes > 0):
            raise ValueError("protocol.held_out_classes above 0 and protocol.choose held_out go together")
        return self


CORRECTED = Protocol(
    name="corrected", k_may_equal_i=False, masks_gallery_of_query=False,
    choose="last", held_out_classes=0.0, test_every=0,
)  # fmt: skip
