"""What git says of the project, and files in which it has left the marks of an unfinished merge."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from hier.errors import ConflictError

_MARKS = [re.compile(mark, re.MULTILINE) for mark in (r"^<{7} ", r"^={7}\r?$", r"^>{7} ")]
_TEXTS = {".csv", ".json", ".lock", ".md", ".tex", ".yaml"}
_COMPOSED = {"params.yaml", "params", "dvc.yaml"}
_TAKEN = ("dvc.lock", "results", "runs")  # of which one side is taken whole
# Beside HEAD, the commits that are being merged with it.
MERGED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REBASE_HEAD", "REVERT_HEAD")


def git(*arguments: str) -> str | None:
    """What a command of git's prints; None where it fails, or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except OSError:
        return None
    # What is no UTF-8 is no YAML, either, and told as such.
    return None if done.returncode else done.stdout.decode(errors="surrogateescape")


def has_conflict(text: str) -> bool:
    """Whether a text has the marks that git leaves where two sides changed the same lines."""
    return all(mark.search(text) for mark in _MARKS)


def refuse_conflicts(paths: Iterable[str | Path], writes: str = "hier compose") -> None:
    """Raise ConflictError where a text among some files, which `writes` may make, has such marks."""
    for path in (path for path in map(Path, paths) if path.suffix in _TEXTS and path.is_file()):
        if has_conflict(path.read_text(encoding="utf-8", errors="replace")):
            raise conflict_in(path, writes)


def conflict_in(path: Path, writes: str = "hier compose") -> ConflictError:
    """The error that says how the conflict in a file is mended, by what kind of file it is; `writes` is
    the command that writes one that is composed."""
    path = Path(os.path.relpath(path))
    said = f"{path} has git's conflict markers; "
    if path.parts[0] in _COMPOSED:
        return ConflictError(f"{said}write it anew, with the overrides that you want: {writes}")
    unmerged = (git("diff", "--name-only", "--diff-filter=U", "--relative") or "").splitlines()
    if str(path) not in unmerged:  # the marks were added or committed
        mend = f"git checkout COMMIT -- {path} (git log -- {path} lists them)"
        return ConflictError(f"{said}bring a version without them back: {mend}")
    if path.parts[0] not in _TAKEN:
        side = f"git checkout --ours {path} && git add {path}"
        return ConflictError(f"{said}take one side: {side} (or --theirs)")
    # A side is whole or it contradicts itself: git merges some of these files without a word.
    whole = " ".join(name for name in _TAKEN if git("ls-tree", "HEAD", "--", name))
    side = f"git checkout HEAD -- {whole}"
    if "dvc.lock" in whole:
        side += " && dvc checkout && hier adopt"
    heads = (head for head in MERGED if git("rev-parse", "--verify", "--quiet", head))
    other = next(heads, "the other commit")
    return ConflictError(f"{said}take one side whole: {side} (or {other} in place of HEAD)")
