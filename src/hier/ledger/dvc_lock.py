"""dvc.lock held against the records: does it say of each stage what the stage's record says?

A record is one of its stage's outputs for DVC, so an entry of dvc.lock names the record that it belongs
to. It can be of an earlier result than the one in the workspace (Snakemake ran after the last
`hier adopt`); then its record lies in DVC's cache. Where that was not pulled either, the entry must be
the one that git has committed.

An entry of another result of the *same* work (command, inputs, settings, code) accuses the workspace:
whoever forges an output can seal its record anew, but not the entry that was committed. Other bytes are
to be expected only where another machine or other packages made the one of the two.

What git has committed of a suite stands in dvc.lock, or on the suite's shelf (hier.ledger.shelf).
"""

import configparser
import os
import re
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import platformdirs

from hier import yaml12
from hier.config.settings import by_file
from hier.errors import ConfigError, TamperedError
from hier.files.hashing import Hasher
from hier.git import MERGED, conflict_in, git, has_conflict
from hier.jobs import Job
from hier.ledger.record import Record, parse_record, read_sealed

LOCK = Path("dvc.lock")
COMMITTED = f"{LOCK} dvc.yaml params.yaml params runs results"
"""What says of a suite's results, together, which they are."""
Entry = dict[str, Any]
SCHEMA = "2.0"
HEAD = f"schema: '{SCHEMA}'\nstages:\n"
_ENTRY = re.compile(r"^  (\S+):\n(?:    .*\n)+", re.MULTILINE)
AWAY = "committed, not here"
"""What a result is called that dvc.lock has and of which files, or the record, are not here."""


def shelf_of(suite: str) -> str:
    """Where a suite's entries are kept while it is not composed."""
    return f"results/{suite}/ledger.yaml"


class Ledger:
    """The entries of dvc.lock, by the names of jobs."""

    def __init__(self, lock: Path = LOCK) -> None:
        """Read it; ConflictError where it has the marks of an unfinished merge, TamperedError where it
        cannot be read."""
        self.lock = lock
        try:
            self.text = lock.read_text(encoding="utf-8") if lock.exists() else None
        except (UnicodeDecodeError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else f"it is no text ({error.reason})"
            raise TamperedError(f"{lock} cannot be read: {why}") from error
        if has_conflict(self.text or ""):
            raise conflict_in(lock)
        self.entries = {} if self.text is None else _entries(self.text, str(lock))
        self._read: dict[str, dict[str, dict[str, str] | None]] = {}  # the shelves of commits

    def entry(self, job: Job) -> Entry | None:
        return self.entries.get(job.dvc_name)

    def names(self, job: Job, hasher: Hasher, path: str = "") -> bool:
        """Whether the entry of a job has an output (by default the record) as it is here."""
        file = Path(path or job.record)
        return file.exists() and self.digest(job, str(file)) == _as_dvc(hasher(file).as_dict())

    def digest(self, job: Job, path: str) -> dict[str, Any] | None:
        """What DVC says that an output of a job holds (MD5, size), or None."""
        entry = self.entry(job)
        return None if entry is None else _by_path(entry["outs"]).get(path)

    def conflict(self, job: Job, record: Record | None, hasher: Hasher) -> str | None:
        """How the entry of a job contradicts the record that it names; None where all is well.
        `record` is the one in the workspace, if there is one."""
        entry = self.entry(job)
        if entry is None:
            return self._taken_out(job, record, hasher)
        try:
            named = _by_path(entry["outs"]).get(str(job.record))
            if named is None:  # of a time when records were no outputs, or edited
                return self._not_committed(job, entry)
            if record is not None and self.names(job, hasher):
                return _difference(entry, job, record, named)
            if file := cached(named["md5"]):
                there = _as_dvc(hasher.file(file).as_dict())
                if there["md5"] != named["md5"]:
                    return f"{file} in DVC's cache is not what its name says"
                return _difference(entry, job, parse_record(file.read_bytes(), file), there)
        except KeyError as error:
            return f"{self.lock} has an entry {job.name} without {error}"
        except (TypeError, AttributeError):
            return f"{self.lock} has an entry {job.name} that is none"
        except TamperedError as error:
            return str(error)
        return self._not_committed(job, entry)

    def other_bytes(self, job: Job, record: Record) -> tuple[str, bool] | None:
        """Where dvc.lock, or git's last commit of it, has other bytes for the same work: what it says,
        and whether the record that it names shows that the same kind of machine and the same
        packages made them, so that they should be the workspace's."""
        committed = {f"git's last commit of {path}": entry for path, entry in self.committed(job).items()}
        held = {str(self.lock): self.entry(job), **committed}
        for where, entry in held.items():
            with suppress(KeyError, TypeError, AttributeError):  # is told by `conflict`
                said, own = _said(entry or {}), _proved(record)
                outs = [p for p, of in own["outs"].items() if said["outs"].get(p, of) != of]
                if outs and all(said[kind] == own[kind] for kind in ("cmd", "deps", "params")):
                    text = f"{outs[0]} is other bytes than {where} has for the same inputs, settings and code"
                    return text, _made_alike(said["outs"].get(str(job.record)), record)
        return None

    def _not_committed(self, job: Job, entry: Entry) -> str | None:
        held = (self.committed(job, commit).values() for commit in self.commits)
        if self.commits["HEAD"] is None or any(entry in entries for entries in held):
            return None
        return f"{self.lock} has an entry {job.name} that no record proves and git does not have"

    def _taken_out(self, job: Job, record: Record | None, hasher: Hasher) -> str | None:
        """Whether git's last commit has an entry of this very record that the file lacks."""
        merged = (of for of in MERGED if self.commits[of] is not None)
        if record is None or any(not self.committed(job, of) for of in merged):
            return None
        here = _as_dvc(hasher(job.record).as_dict())
        for path, was in self.committed(job).items():
            if _by_path(was["outs"]).get(str(job.record)) == here:
                where = "" if path == str(self.lock) else f" in {path}"
                return f"{self.lock} lacks its entry {job.name}, which git's last commit has{where}"
        return None

    def committed(self, job: Job, commit: str = "HEAD") -> dict[str, Entry]:
        """The entries that a commit has of a job, by the files that have them: dvc.lock, shelves.
        TamperedError where the shelf of one of its suites is damaged there."""
        if (in_lock := self.commits[commit]) is None:
            return {}
        found = {str(LOCK): in_lock[job.dvc_name]} if job.dvc_name in in_lock else {}
        own = {*map(shelf_of, job.suites)}
        for path, texts in self._shelves(commit).items():
            if texts is None and path in own:
                raise TamperedError(f"{path} is not as DVC writes it in git's last commit")
            if texts and job.dvc_name in texts:
                found[path] = _entries(HEAD + texts[job.dvc_name], path)[job.dvc_name]
        return found

    @cached_property
    def commits(self) -> dict[str, dict[str, Entry] | None]:
        """The entries of dvc.lock in git's last commit ("HEAD"; None outside of git), and in those that are
        being merged with it; None where there is no such commit, or marks of a merge were committed."""
        return {commit: self._of(commit) for commit in ("HEAD", *MERGED)}

    def _of(self, commit: str) -> dict[str, Entry] | None:
        text = git("show", f"{commit}:./{self.lock}")
        if text is None:
            return None if git("rev-parse", "--verify", "--quiet", commit) is None else {}
        if has_conflict(text):
            return None
        return self.entries if text == self.text else _entries(text, "git's dvc.lock")

    def _shelves(self, commit: str) -> dict[str, dict[str, str] | None]:
        """The texts of the entries on all shelves of a commit, by file; None for one that is damaged."""
        if commit not in self._read:
            listed = git("ls-tree", "--name-only", commit, "--", "results/") or ""
            paths = [shelf_of(folder.removeprefix("results/")) for folder in listed.split()]
            shown = {path: git("show", f"{commit}:./{path}") for path in paths}
            self._read[commit] = {path: texts(text) for path, text in shown.items() if text is not None}
        return self._read[commit]


def texts(ledger: str) -> dict[str, str] | None:
    """The text of each entry of a ledger, by its stage's name in dvc.yaml; None where DVC did not write it
    so."""
    found = {match[1]: match[0] for match in _ENTRY.finditer(ledger)}
    return found if ledger == whole(found) else None


def whole(entries: dict[str, str]) -> str:
    """The ledger with these entries."""
    return HEAD + "".join(entries.values()) if entries else HEAD.splitlines(keepends=True)[0]


def _made_alike(named: dict[str, Any] | None, record: Record) -> bool:
    """Whether the record that an entry names can be read and is of the same kind of machine."""
    with suppress(TamperedError):
        other = read_sealed(cache_file(named["md5"])) if named else None
        return other is not None and kind_of_machine(other) == kind_of_machine(record)
    return False


def readable_ledger() -> tuple[Ledger, str]:
    """dvc.lock and "", or an empty ledger and why dvc.lock cannot be read."""
    try:
        return Ledger(), ""
    except TamperedError as error:
        return Ledger(Path("/nonexistent")), str(error)


def other_setting(entry: Entry, settings: dict[str, Any]) -> str | None:
    """The first of some settings (by dotted keys) that an entry has otherwise, as `file: key`."""
    said = _settings(entry.get("params", {}))
    now = _settings(by_file(settings))
    other = (name for name in now if name not in said or said[name] != now[name])
    return next((name.replace(":", ": ", 1) for name in other), None)


def cache_file(md5: str) -> Path:
    """Where DVC's cache keeps the bytes of that hash."""
    return cache_folder() / "files" / "md5" / md5[:2] / md5[2:]


def cached(md5: str) -> Path | None:
    """The file of DVC's cache with the bytes of that hash, where there is one that we may read."""
    file = cache_file(md5)
    return file if os.access(file, os.R_OK) else None


def cache_folder() -> Path:
    """DVC's cache: .dvc/cache, or where the last says that does of the machine's, the user's, the
    project's and the copy's configuration; ConfigError where one of these makes no sense."""
    # As dvc.dirs has it, which would load all of DVC for two names.
    of_dvc = platformdirs.PlatformDirs("dvc", "iterative")
    machines = os.getenv("DVC_SYSTEM_CONFIG_DIR") or of_dvc.site_config_dir
    users = os.getenv("DVC_GLOBAL_CONFIG_DIR") or of_dvc.user_config_dir
    folder = Path(".dvc/cache")
    files = [Path(home, "config") for home in (machines, users, ".dvc")]
    for file in (*files, Path(".dvc/config.local")):
        config = configparser.ConfigParser(interpolation=None)
        try:
            config.read(file, encoding="utf-8")  # nothing, where it is not ours to read
        except (configparser.Error, UnicodeDecodeError) as error:
            reason = f"{file} cannot be read ({' '.join(str(error).split())})"
            raise ConfigError(f"{reason}; correct it, or: git checkout {file}") from error
        if given := config.get("cache", "dir", fallback=None):
            folder = file.parent / Path(given.strip("\"'")).expanduser()
    return folder


def _entries(text: str, where: str) -> dict[str, Entry]:
    try:
        found = yaml12.load(text)
    except yaml12.Error as error:
        raise TamperedError(f"{where} cannot be read: {' '.join(str(error).split())}") from error
    stages = found.get("stages", {}) if isinstance(found, dict) else None
    if isinstance(stages, dict) and found.get("schema") == SCHEMA:
        return stages
    raise TamperedError(f"{where} cannot be read: it is no ledger of DVC's schema {SCHEMA}")


def kind_of_machine(record: Record) -> tuple[Any, ...]:
    """Of a record, what can change a bit of a result although nothing that goes in has changed."""
    environment = record.get("environment") or {}
    torch = environment.get("torch") or {}
    names = ("build", "cuda", "gpu", "threads", "deterministic", "tf32", "cudnn_benchmark")
    facts = [environment.get(name) for name in ("processor", "system", "kernels", "libc")]
    return (*facts, record["packages"], *(torch.get(name) for name in names))


def _difference(entry: Entry, job: Job, record: Record, named: dict[str, Any]) -> str | None:
    """The first thing that an entry says otherwise than the record."""
    said, proved = _said(entry), _proved(record)
    proved["outs"] |= {str(job.record): named}
    if said["cmd"] != proved["cmd"]:
        return f"{LOCK} has another command for {job.name} than its record"
    for kind in ("params", "deps", "outs"):
        for name in sorted(said[kind].keys() | proved[kind].keys()):
            if said[kind].get(name) != proved[kind].get(name):
                return f"{LOCK} says otherwise of {name} in {job.name} than its record"
    return None


def _said(entry: Entry) -> dict[str, Any]:
    """An entry, by paths and keys."""
    return {
        "cmd": entry["cmd"],
        "deps": _by_path(entry.get("deps", [])),
        "params": _settings(entry.get("params", {})),
        "outs": _by_path(entry["outs"]),
    }


def _proved(record: Record) -> dict[str, Any]:
    """What an entry should say, but for the record itself."""
    went_in = record["inputs"] | record["versioned"]
    return {
        "cmd": record["command"],
        "deps": {path: _as_dvc(digest) for path, digest in went_in.items()},
        "params": _settings(by_file(record["params"])),
        "outs": {path: _as_dvc(digest) for path, digest in record["outputs"].items()},
    }


def _settings(by_file: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Values by file and key, as one mapping."""
    return {f"{path}:{key}": value for path, own in by_file.items() for key, value in own.items()}


def _by_path(listed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["path"]: _as_dvc(item) for item in listed}


def _as_dvc(digest: dict[str, Any]) -> dict[str, Any]:
    """What records and dvc.lock have in common of a digest, and a hash that is not MD5, which no
    record has."""
    names = ("md5", "size", "nfiles", "hash")
    return {name: digest[name] for name in names if digest.get(name, "md5") != "md5"}
