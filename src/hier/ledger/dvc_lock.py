"""dvc.lock held against the records: does it say of each stage what the stage's record says?

A record is one of its stage's outputs for DVC, so an entry of dvc.lock names the bytes of the record
that it belongs to. An entry can be of an earlier result than the one in the workspace (Snakemake ran
after the last `hier adopt`); then the record that it names lies in DVC's cache. Where that was not
pulled either, the entry must be the one that git has committed.

An entry of another result of the *same* work (command, inputs, settings, code) accuses the workspace:
whoever forges an output can seal its record anew, but not the entry that was committed. Only where
another machine or other packages made the one of the two are other bytes to be expected.
"""

import configparser
import os
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
from hier.ledger.record import Record, parse_record

LOCK = Path("dvc.lock")
COMMITTED = f"{LOCK} dvc.yaml params.yaml params runs results"
"""What says of a suite's results, together, which they are."""
Entry = dict[str, Any]
SCHEMA = "2.0"
AWAY = "committed, not here"
"""What a result is called that dvc.lock has and of which files, or the record, are not here."""


class Ledger:
    """The entries of dvc.lock, by the names of jobs."""

    def __init__(self, lock: Path = LOCK) -> None:
        """Read it.

        Raises:
            ConflictError: it has the marks of an unfinished merge.
            TamperedError: it cannot be read.
        """
        self.lock = lock
        self.text = _text(lock)
        if has_conflict(self.text or ""):
            raise conflict_in(lock)
        self.entries = {} if self.text is None else _entries(self.text, str(lock))

    def entry(self, job: Job) -> Entry | None:
        return self.entries.get(job.dvc_name)

    def names_bytes(self, job: Job, path: str, hasher: Hasher) -> bool:
        """Whether an output of a job holds, as it is here, what DVC says."""
        return self.digest(job, path) == _as_dvc(hasher(Path(path)).as_dict())

    def digest(self, job: Job, path: str) -> dict[str, Any] | None:
        """What DVC says that an output of a job holds (MD5, size), or None."""
        entry = self.entry(job)
        return None if entry is None else _by_path(entry["outs"]).get(path)

    def conflict(self, job: Job, record: Record | None, hasher: Hasher) -> str | None:
        """How the entry of a job contradicts the record that it names; None where all is well.

        Args:
            record: the record in the workspace, if there is one.
        """
        entry = self.entry(job)
        if entry is None:
            return self._taken_out(job, record, hasher)
        try:
            named = _by_path(entry["outs"]).get(str(job.record))
            if named is None:  # of a time when records were no outputs, or edited
                return self._not_committed(job, entry)
            if record is not None and named == _as_dvc(hasher(job.record).as_dict()):
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
        """Whether dvc.lock, or git's last commit of it, has other bytes for the same work.

        Returns:
            what it says, and whether the record that it names shows that the same kind of machine
            and the same packages made them, so that they should be the workspace's; None where
            there is no such entry.
        """
        held = {str(self.lock): self.entry(job), "git": (self.committed or {}).get(job.dvc_name)}
        for where, entry in held.items():
            if entry is None or not _of_the_same_work(entry, record):
                continue
            said = _by_path(entry["outs"])
            own = {path: _as_dvc(digest) for path, digest in record["outputs"].items()}
            path = next((p for p in own if p in said and said[p] != own[p]), None)
            if path is None:
                continue
            there = "git's last commit of dvc.lock" if where == "git" else where
            text = f"{path} is other bytes than {there} has for the same inputs, settings and code"
            return text, self._made_alike(said.get(str(job.record)), record)
        return None

    def _made_alike(self, named: dict[str, Any] | None, record: Record) -> bool:
        """Whether the record that an entry names can be read and is of the same kind of machine."""
        file = cached(named["md5"]) if named else None
        if file is None:
            return False
        try:
            other = parse_record(file.read_bytes(), file)
        except TamperedError:
            return False
        return kind_of_machine(other) == kind_of_machine(record)

    def _not_committed(self, job: Job, entry: Entry) -> str | None:
        if self.committed is None or self.committed.get(job.dvc_name) == entry:
            return None
        if any(entries.get(job.dvc_name) == entry for entries in self.merged):
            return None
        return f"{self.lock} has an entry {job.name} that no record proves and git does not have"

    def names(self, job: Job, hasher: Hasher) -> bool:
        """Whether the entry of a job is of the record in the workspace."""
        entry = self.entry(job)
        if entry is None or not job.record.exists():
            return False
        return self.digest(job, str(job.record)) == _as_dvc(hasher(job.record).as_dict())

    def _taken_out(self, job: Job, record: Record | None, hasher: Hasher) -> str | None:
        """Whether git's last commit has an entry of this very record that the file lacks."""
        if record is None or self.committed is None or job.dvc_name not in self.committed:
            return None
        if any(job.dvc_name not in entries for entries in self.merged):
            return None
        was = _by_path(self.committed[job.dvc_name]["outs"]).get(str(job.record))
        if was != _as_dvc(hasher(job.record).as_dict()):
            return None
        return f"{self.lock} lacks its entry {job.name}, which git's last commit has"

    @cached_property
    def committed(self) -> dict[str, Entry] | None:
        """The entries that git's last commit has; None outside of git."""
        text = git("show", f"HEAD:./{self.lock}")
        if text is None:
            return None if git("rev-parse", "HEAD") is None else {}
        if has_conflict(text):  # the marks were committed
            return None
        return self.entries if text == self.text else _entries(text, "git's dvc.lock")

    @cached_property
    def merged(self) -> list[dict[str, Entry]]:
        """The entries of the commits that are being merged with git's last one."""
        texts = (git("show", f"{head}:./{self.lock}") for head in MERGED)
        return [_entries(text, "git's dvc.lock") for text in texts if text is not None]


def readable_ledger() -> tuple[Ledger, str]:
    """dvc.lock and "", or an empty ledger and why dvc.lock cannot be read.

    Raises:
        ConflictError: it has the marks of an unfinished merge.
    """
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
    project's and the copy's configuration.

    Raises:
        ConfigError: one of these makes no sense.
    """
    # As dvc.dirs has it, which would load all of DVC for two names.
    machines = os.getenv("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir(
        "dvc", "iterative"
    )
    users = os.getenv("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    folder = Path(".dvc/cache")
    homes = (Path(machines), Path(users), Path(".dvc"))
    for file in (*(home / "config" for home in homes), Path(".dvc/config.local")):
        config = configparser.ConfigParser(interpolation=None)
        try:
            with suppress(OSError):  # not ours to read
                config.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{file} cannot be read ({reason}); correct it, or: git checkout {file}"
            ) from error
        if given := config.get("cache", "dir", fallback=None):
            folder = file.parent / Path(given.strip("\"'")).expanduser()
    return folder


def _text(lock: Path) -> str | None:
    try:
        return lock.read_text(encoding="utf-8") if lock.exists() else None
    except UnicodeDecodeError as error:
        raise TamperedError(f"{lock} cannot be read: it is no text ({error.reason})") from error
    except OSError as error:
        raise TamperedError(f"{lock} cannot be read: {error.strerror}") from error


def _entries(text: str, where: str) -> dict[str, Entry]:
    try:
        found = yaml12.load(text)
    except yaml12.Error as error:
        raise TamperedError(f"{where} cannot be read: {' '.join(str(error).split())}") from error
    stages = found.get("stages", {}) if isinstance(found, dict) else None
    if (
        not isinstance(stages, dict) or found.get("schema") != SCHEMA
    ):  # DVC reads no such file, either
        raise TamperedError(f"{where} cannot be read: it is no ledger of DVC's schema {SCHEMA}")
    return stages


def kind_of_machine(record: Record) -> tuple[Any, ...]:
    """Of a record, what can change a bit of a result although nothing that goes in has changed."""
    environment = record.get("environment") or {}
    torch = environment.get("torch") or {}
    names = ("build", "cuda", "gpu", "threads", "deterministic", "tf32", "cudnn_benchmark")
    facts = tuple(torch.get(name) for name in names)
    return (environment.get("processor"), environment.get("system"), record["packages"], *facts)


def _of_the_same_work(entry: Entry, record: Record) -> bool:
    """Whether an entry has the command, inputs, code and parameters of a record."""
    try:
        said, proved = _said(entry), _proved(record)
    except (KeyError, TypeError, AttributeError):
        return False  # what is wrong with it is told by `conflict`
    return all(said[kind] == proved[kind] for kind in ("cmd", "deps", "params"))


def _difference(entry: Entry, job: Job, record: Record, named: dict[str, Any]) -> str | None:
    """The first thing that an entry says otherwise than the record."""
    said = _said(entry)
    proved = _proved(record)
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
    return {item["path"]: _as_dvc(item) | _other_hash(item) for item in listed}


def _other_hash(item: dict[str, Any]) -> dict[str, Any]:
    """The name of a hash that is not MD5, which no record has."""
    return {"hash": item["hash"]} if item.get("hash", "md5") != "md5" else {}


def _as_dvc(digest: dict[str, Any]) -> dict[str, Any]:
    """The part of a digest that dvc.lock has too."""
    return {name: digest[name] for name in ("md5", "size", "nfiles") if name in digest}
