"""By how much a value may be off where other bytes are allowed: as far as one further seed's would be."""

import math

CONFIDENCE = 0.99


def half_width(n: int, sd: float | None) -> float | None:
    """Half the width of the 99 % prediction interval of one further value, around the mean of n with the
    sample standard deviation sd: t · sd · √(1 + 1/n), t of Student's distribution with n − 1 degrees of
    freedom (where values are normally distributed). None of fewer than two, which have no spread."""
    if n < 2 or sd is None:
        return None
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * sd * math.sqrt(1 + 1 / n))
