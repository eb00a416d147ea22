"""Call DVC or Snakemake as the programs that they are."""

import subprocess
import sys

from hier.errors import HierError


def call(*command: str) -> None:
    """Run `python -m <command>`, silently.

    Raises:
        HierError: it failed; the message holds the line in which it says why.
    """
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    if (
        done.returncode
    ):  # told is the first line that calls itself an error or a file invalid, or the last
        said = (done.stderr or done.stdout).splitlines()
        lines = [line.strip() for line in said if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")]
        invalid = [line for line in lines if "is invalid" in line or "validation failed" in line]
        why = [*errors, *invalid, *reversed(lines), "it says nothing"][0]
        raise HierError(f"{' '.join(command)} failed: {why}")
