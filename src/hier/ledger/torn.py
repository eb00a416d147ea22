"""dvc.lock as a killed DVC leaves it: DVC empties the file and then writes it from its first line on.

A cut within a line can still be YAML, and one at the end of a line often is. So what is left is also
held against what DVC writes of a stage, and against the file that git last put there or was given.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hier import yaml12
from hier.errors import ConflictError
from hier.git import git, has_conflict
from hier.ledger.dvc_lock import LOCK, readable_ledger
from hier.ledger.shelf import on_a_shelf
from hier.pipeline import STAGES

TORN = Path(".hier/dvc.lock.torn")


def put_aside_torn(say: Callable[[str], None]) -> None:
    """Put a dvc.lock that was not written to its end aside; the one that git has committed replaces it."""
    try:
        why = torn()
    except ConflictError:  # a merge that is not finished is the user's
        return
    if why:
        say(f"{why}; it is put aside as {TORN}, the committed one counts, and hier adopt enters the rest")
        TORN.parent.mkdir(exist_ok=True)
        LOCK.replace(TORN)
        git("checkout", "HEAD", "--", str(LOCK))


def torn() -> str:
    """Why dvc.lock was not written to its end, or ""; ConflictError where it has a merge's marks."""
    if not LOCK.is_file():
        return ""
    ledger, unreadable = readable_ledger()
    return unreadable or cut_short(ledger.text or "", ledger.entries, git("show", f":./{LOCK}") or "")


def cut_short(text: str, entries: dict[str, Any], indexed: str = "") -> str:
    """Where a dvc.lock that can be read ends too early, or "". `indexed` is the text that git's index has
    of it, if it has one: a file that is the same is whole, whatever the pipeline demanded at its time."""
    if text == indexed:
        return ""
    last = list(entries)[-1] if entries else ""
    if last and not _is_whole(entries[last]):
        return f"{LOCK} ends within its entry {last}"
    if not text.endswith("\n"):
        return f"{LOCK} ends within a line"
    if lost := [name for name in _follow(last, indexed) if name not in entries and not on_a_shelf(name)]:
        return f"{LOCK} ends before its entry {lost[0]}"
    return ""


def _is_whole(entry: Any) -> bool:
    """Whether an entry has all that DVC writes of a stage; the outputs come last, in the order of their
    paths, and of each its path, hash and size, and of a folder the number of files."""
    try:
        outs = {item["path"]: item for item in entry["outs"]}
        _, stage, key = entry["cmd"].split()
        return _outs(stage, key) <= outs.keys() and all(
            {"md5", "size", *(["nfiles"] if item["md5"].endswith(".dir") else [])} <= item.keys()
            for item in outs.values()
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _outs(stage: str, key: str) -> set[str]:
    """The outputs that DVC has of a stage of the pipeline; of another one, nothing is known."""
    if stage not in STAGES:
        return set()
    own = STAGES[stage]
    return {path.format(**{own.scope: key}) for path in (*own.outputs, own.record)}


def _follow(name: str, text: str) -> list[str]:
    """The names of the entries that come after `name` ("" for the beginning) in a dvc.lock."""
    try:
        names = [] if has_conflict(text) else ["", *(yaml12.load(text) or {}).get("stages", {})]
    except (yaml12.Error, AttributeError, TypeError):
        return []
    return names[names.index(name) + 1 :] if name in names else []
