"""What dvc.lock names, as DVC keeps it in its cache and its remotes: objects, each under its bytes' MD5.

An output that is a folder is an object, too: the list of its files, under the list's MD5 and `.dir`. Outputs
that git keeps are no objects.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hier.errors import TamperedError
from hier.files.hashing import hash_file
from hier.ledger.dvc_lock import Ledger
from hier.pipeline import STAGES

LIST = ".dir"


@dataclass(frozen=True)
class Object:
    """An object, and a path in the workspace that holds what it holds (there may be more)."""

    oid: str  # MD5 in hexadecimal, of a list with .dir behind it
    path: str
    nfiles: int = 0  # of a list

    @property
    def is_list(self) -> bool:
        return self.oid.endswith(LIST)

    @property
    def md5(self) -> str:
        return self.oid.removesuffix(LIST)

    def __str__(self) -> str:
        return f"{self.path} (the list of its {self.nfiles:,} files)" if self.is_list else self.path

    def is_whole(self, file: Path) -> bool:
        """Whether a file has its bytes, all of which are read."""
        return hash_file(file).md5 == self.md5


def named_objects(ledger: Ledger, stages: Collection[str] | None = None) -> list[Object]:
    """Each object that dvc.lock names, once, without what is in lists; of some `stages` (by DVC's names), or
    of all. TamperedError where an entry is none.
    """
    found: dict[str, Object] = {}
    for name, entry in ledger.entries.items():
        if stages is not None and name not in stages:
            continue
        try:
            kept = _kept_by_git(name)
            for out in entry["outs"]:
                if out.get("hash") == "md5" and out["path"] not in kept:
                    own = Object(out["md5"], out["path"], out.get("nfiles", 0))
                    found.setdefault(own.oid, own)
        except (KeyError, TypeError, AttributeError) as error:
            raise TamperedError(f"{ledger.lock} has an entry {name} that is none") from error
    return list(found.values())


def members(listed: Object, text: bytes) -> list[Object]:
    """The objects in a list, given its bytes; TamperedError where these are no list."""
    try:
        return [Object(item["md5"], f"{listed.path}/{item['relpath']}") for item in json.loads(text)]
    except (ValueError, KeyError, TypeError) as error:
        raise TamperedError(
            f"{listed.oid} is no list of files, as DVC writes one of {listed.path}"
        ) from error


def _kept_by_git(name: str) -> set[str]:
    """The outputs of a stage, by DVC's name, that dvc.lock names but DVC does not store."""
    for stage in STAGES.values():
        before = f"{stage.name}{'-' if stage.scope == 'suite' else '@'}"
        if name.startswith(before):
            return {path.format(**{stage.scope: name.removeprefix(before)}) for path in stage.in_git}
    return set()
