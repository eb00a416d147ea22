"""What differs between two runs, on the terminal."""

import json
from typing import Any

from rich.console import Console

from hier.audit.run_diff import Comparison, Difference


def print_comparison(found: Comparison) -> None:
    """Kind by kind, what went in first; `identical` where nothing of a kind differs."""
    console = Console(width=None if Console().is_terminal else 160)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    say(f"{found.one} → {found.other}")
    for note in found.notes:
        say(f"note: {note}")
    known = not any("no record" in note for note in found.notes)
    for kind, differences in found.kinds():
        alike = "identical" if known or kind == "parameters" else "identical as far as is known"
        say(f"{kind}: {len(differences)} differ" if differences else f"{kind}: {alike}")
        for difference in differences:
            say(f"    {line_of(kind, difference)}")


def line_of(kind: str, difference: Difference) -> str:
    """One difference: name, both values, and where it comes in."""
    if kind == "figures":
        return _figure_line(difference)
    line = f"{difference.name}: {_shown(difference.one)} → {_shown(difference.other)}"
    stages = ", ".join(difference.stages)
    if kind == "inputs":
        through = f", made by {difference.through}" if difference.through else ""
        return f"{line} (read by {stages}{through})"
    if kind == "outputs":
        return f"{line} (of {stages})"
    return f"{line} ({stages})"


def _figure_line(difference: Difference) -> str:
    one, other = (
        "not made" if value is None else f"{value:.2f}"
        for value in (difference.one, difference.other)
    )
    line = f"{difference.name}: {one} → {other}"
    if difference.one is None or difference.other is None:
        return line
    return f"{line} ({difference.other - difference.one:+.2f})"


def _shown(value: Any) -> str:
    """A digest as the beginning of its hash, any other value as it stands in params.yaml."""
    if isinstance(value, dict) and "md5" in value:
        return str(value.get("sha256") or value["md5"])[:12]
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False).strip('"')
