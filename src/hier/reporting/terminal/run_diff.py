"""What differs between two runs, on the terminal."""

import json
from typing import Any

from hier.audit.run_diff import Comparison, Difference


def print_comparison(found: Comparison) -> None:
    """Kind by kind, what went in first; `identical` where nothing of a kind differs."""
    lines = [f"{found.one} → {found.other}", *(f"note: {note}" for note in found.notes)]
    known = not any("no record" in note for note in found.notes)
    for kind, differences in found.differences.items():
        alike = "identical" if known or kind == "parameters" else "identical as far as is known"
        lines.append(f"{kind}: {f'{len(differences)} differ' if differences else alike}")
        lines += [f"    {line_of(kind, difference)}" for difference in differences]
    print("\n".join(lines))


def line_of(kind: str, difference: Difference) -> str:
    """One difference: name, both values, and where it comes in."""
    one, other, stages = difference.one, difference.other, ", ".join(difference.stages)
    if kind == "figures":
        values = ["not made" if value is None else f"{value:.2f}" for value in (one, other)]
        where = "" if None in (one, other) else f" ({other - one:+.2f})"
    else:
        values = [_shown(one), _shown(other)]
        through = f", made by {difference.through}" if difference.through else ""
        words = {"inputs": f"read by {stages}{through}", "outputs": f"of {stages}"}
        where = f" ({words.get(kind, stages)})"
    return f"{difference.name}: {' → '.join(values)}{where}"


def _shown(value: Any) -> str:
    """A digest as the beginning of its hash, any other value as it stands in params.yaml."""
    if isinstance(value, dict) and "md5" in value:
        return str(value.get("sha256") or value["md5"])[:12]
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False).strip('"')
