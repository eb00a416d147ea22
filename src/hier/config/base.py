"""The strictness that every configuration shares."""

from pydantic import AfterValidator, BaseModel, ConfigDict

from hier.errors import UnknownNameError
from hier.registry import Registry


class Strict(BaseModel):
    """A frozen model in which an unknown key is an error and no type is silently converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def named_in(registry: Registry) -> AfterValidator:
    """The validator of a text that must be the name of a part."""

    def check(name: str) -> str:
        try:
            return registry.check(name)
        except UnknownNameError as error:
            raise ValueError(str(error)) from error

    return AfterValidator(check)
