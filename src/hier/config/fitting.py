"""Which overrides a run can have: epochs, for one, fit no run whose loss is none."""

from collections.abc import Callable, Collection
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from hier.config.run import Run
from hier.config.suite import one_line


def misfits(
    overrides: Collection[str], with_: Callable[[Collection[str]], dict[str, Any]]
) -> dict[str, str]:
    """Of some overrides those with which a run is never valid, whatever others come with them.

    Overrides that only exclude each other are none: which of them was meant is the user's to say.

    Args:
        with_: gives the run, as plain data, with some of the overrides.

    Returns:
        why the run is not valid with it alone, by override.
    """
    if why_invalid(with_(overrides)) is None or why_invalid(with_(())) is not None:
        return {}
    fit: set[str] = set()
    for number in range(1, len(overrides)):
        for chosen in combinations(overrides, number):
            if not fit.issuperset(chosen) and why_invalid(with_(chosen)) is None:
                fit.update(chosen)
    reasons = {text: why_invalid(with_((text,))) for text in overrides if text not in fit}
    return {text: reason for text, reason in reasons.items() if reason}


def why_invalid(run: dict[str, Any]) -> str | None:
    """What is wrong with a run's settings, in one line; None where nothing is."""
    try:
        Run.model_validate(run)
    except ValidationError as error:
        return one_line(error, str, Run).removeprefix(": ")
    return None


def left_as_they_are(override: str, runs: dict[str, str]) -> str:
    """What a user is told of an override that does not fit some runs.

    Args:
        runs: why it does not fit, by the run's name.
    """
    first, *others = runs
    more = f" and {len(others)} more" if others else ""
    stay = "stay as they are" if others else "stays as it is"
    return f"note: '{override}' does not fit {first}{more}, which {stay}: {runs[first]}"
