"""Is each job's result what its record says, and does it still follow from what is there now?

A job's status:

    current              its bytes are those of its record, made from what goes in now
    committed, not here  some of its files, or its record, are not here, but dvc.lock has them, made from
                         what goes in now
    not run              there is no result, here or in dvc.lock
    stale                inputs, settings, code or packages have moved on since it was made
    tampered             bytes are not what its record says, or dvc.lock contradicts them
"""

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hier.config.settings import Settings
from hier.errors import HierError, TamperedError
from hier.files.hashing import Hasher
from hier.git import git, refuse_conflicts
from hier.jobs import Job, jobs
from hier.ledger.arrival import TAKE_OVER, changed_source, is_its_source
from hier.ledger.dvc_lock import (
    AWAY,
    COMMITTED,
    LOCK,
    Entry,
    cached,
    other_setting,
    readable_ledger,
    shelf_of,
)
from hier.ledger.environment import versions
from hier.ledger.output_cache import FOLDER, kept_files, kept_record
from hier.ledger.record import (
    Fingerprint,
    Record,
    believed,
    changed_output,
    first_change,
    read_record,
    read_sealed,
    stale_reason,
)

OTHER_RESULT = "is of another result: git moved the one, and nobody the other"
WHOLE = "--no-overlay"
"""With it `git checkout` also removes what the commit does not have."""
STATUSES = ("current", AWAY, "not run", "stale", "tampered")  # from best to worst


@dataclass(frozen=True)
class Finding:
    """What was found about one job: what is wrong with it, if anything, whether dvc.lock has this very
    result (`adopted`), what one should know of a result that is in order (`notice`), and where DVC's cache
    has damaged copies of it, these and what came of them (`spoilt`)."""

    job: Job
    status: str
    reason: str = ""
    adopted: bool = False
    notice: str = ""
    spoilt: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"{self.job.name} is {self.status}: {self.reason}"

    @property
    def mend(self) -> str:
        """The command that brings the job in order."""
        if self.reason.startswith(str(LOCK)):
            if self.reason.endswith(tuple(map(shelf_of, self.job.suites))):
                return self.job.settings.compose_again
            ledger, _ = readable_ledger()
            same = ledger.entry(self.job) in ledger.committed(self.job).values()
            if not same and git("diff", "--quiet", "HEAD", "--", str(LOCK)) is None:
                return f"git checkout {LOCK}"
            # A merge may have mixed two sides. `dvc repro` would take a forged record over as well.
            merged = git("rev-parse", "--verify", "--quiet", "HEAD^2") is not None
            had = git("ls-tree", "--name-only", "HEAD", "--", *COMMITTED.split()) or str(LOCK)
            paths, side = " ".join(had.split()), "HEAD^1" if merged else "COMMIT"
            return f"git checkout {WHOLE} {side} -- {paths} && dvc checkout"
        if self.status in (AWAY, "not run"):
            return "snakemake --cores all"
        if shelf := next(filter(self.reason.startswith, map(shelf_of, self.job.suites)), None):
            return f"git checkout COMMIT -- {shelf} && {self.job.settings.compose_again}"
        if self.reason.endswith(OTHER_RESULT):
            return "dvc checkout (or make it anew: snakemake --cores all)"
        if self.adopted and (path := next(filter(self.reason.startswith, self.job.in_git), None)):
            return f"git checkout {path}"
        if TAKE_OVER in self.reason:
            return self.job.command
        if self.spoilt:
            removal = shlex.join(["rm", "-rf", *self.spoilt])
            return f"{removal} && dvc pull (or make it anew: snakemake --cores all)"
        made = " ".join([*self.job.outputs, str(self.job.record)])
        return f"rm -rf {made} {FOLDER / self.job.name} && snakemake --cores all"


class RecordAudit:
    """Looks at every job of some suites, each file once: does its record prove its result? `deep` reads
    every byte instead of trusting sizes, times and inodes."""

    def __init__(self, settings: Settings, deep: bool = False) -> None:
        self.settings = settings
        self.jobs = list(jobs(settings))
        self.hasher = Hasher(deep)
        self.maker = {path: job for job in self.jobs for path in job.outputs}
        self.runs = [job.key for job in self.jobs if job.stage.name == "evaluate"]

    def finding(self, job: Job) -> Finding:
        """What is to be said of one job, whatever is to be said of the jobs before it."""
        try:
            reason = stale_reason(job, self.hasher)
        except HierError as error:  # something that it reads is not here
            reason = str(error)
        return Finding(job, "stale" if reason else "current", reason or "")

    def known_of(self, path: str) -> dict[str, Any]:
        """What the record of its job says that an output holds; {} for nothing."""
        record = believed(self.maker[path]) or {"outputs": {}}
        return dict(record["outputs"].get(path, {}))


class LedgerAudit(RecordAudit):
    """And do dvc.lock, DVC's cache and the kept copies agree?"""

    def __init__(self, settings: Settings, deep: bool = False) -> None:
        super().__init__(settings, deep)
        self.ledger, self.unreadable = readable_ledger()

    def findings(self) -> Iterator[Finding]:
        """One finding for each job, in the order of the data."""
        for job in self.jobs:
            yield self.finding(job)
        self.hasher.save()

    def uncommitted(self) -> list[str]:
        """Of dvc.lock and the outputs that git keeps, what the last commit has not as it is here."""
        shelves = [shelf_of(suite) for suite in self.settings.suites]
        paths = [str(LOCK), *shelves, *(path for job in self.jobs for path in job.in_git)]
        told = git("status", "--porcelain", "-z", "--untracked-files=all", "--", *paths) or ""
        found = [line[3:] for line in told.split("\0") if line[2:3] == " "]
        entries = ((self.ledger.entry(job), self.ledger.committed(job)) for job in self.jobs)
        same = all(own in committed.values() for own, committed in entries)  # as where a suite left its shelf
        return [path for path in found if not (same and path == str(LOCK))]

    def finding(self, job: Job) -> Finding:
        """What is to be said of one job, whatever is to be said of the jobs before it; ConflictError where
        an output that git keeps has the marks of an unfinished merge."""
        finding = self._finding(job)
        if finding.status in ("stale", "tampered"):
            refuse_conflicts(job.in_git)
        if finding.status == "tampered":
            with suppress(OSError):  # told as what is wrong
                return replace(finding, spoilt=tuple(self._spoilt(job)))
        return finding

    def _finding(self, job: Job) -> Finding:
        try:
            record = None if self.unreadable else read_record(job)
            if wrong := self.unreadable or self.ledger.conflict(job, record, self.hasher):
                return Finding(job, "tampered", wrong)
            if record is None:
                status, reason = next(self._without_record(job))
                return Finding(job, status, reason, adopted=status in (AWAY, "tampered"))
            adopted = self.ledger.names(job, self.hasher)
            other, alike = self.ledger.other_bytes(job, record) or ("", False)
            wrongs = self._with_record(job, record, adopted, other if alike else "")
            status, reason = next(wrongs, ("current", ""))
            return Finding(job, status, reason, adopted, "" if status == "tampered" else other)
        except TamperedError as error:
            return Finding(job, "tampered", str(error))
        except OSError as error:  # one file that cannot be read must not hide the rest
            return Finding(job, "tampered", f"{error.filename} cannot be read: {error.strerror}")

    def _with_record(
        self, job: Job, record: Record, adopted: bool, accusation: str
    ) -> Iterator[tuple[str, str]]:
        """What is wrong with a job's result, the first of it first: a status, and the reason."""
        if set(record["outputs"]) != set(job.outputs):
            yield "stale", "it has other outputs than its record"
        there = [path for path in job.outputs if Path(path).exists()]
        # What git may have brought without the record that belongs to it.
        of_git = [p for p in there if p in job.in_git and self.ledger.names(job, self.hasher, p)]
        rest = [path for path in there if path not in of_git]
        if changed := changed_output(rest, record, self.hasher):
            yield "tampered", f"{changed} is not the bytes that its record says"
        if damaged := self._damaged_copy(job, record):
            yield "tampered", damaged
        if accusation and not is_its_source(job, self.hasher):
            yield "tampered", f"{accusation}, made by the same packages on the same kind of machine"
        if changed := changed_output(of_git, record, self.hasher):
            yield "stale", f"{changed} is {LOCK}'s, but {job.record} {OTHER_RESULT}"
        if moved := first_change(record, self._fingerprint(job)):
            yield "stale", moved
        for path in (path for path in job.outputs if path not in there):
            gone = "not run", f"{path} is neither here nor in {LOCK}"
            yield (AWAY, f"{path} is not here") if adopted else gone
        if changed := changed_source(job, self.hasher):
            yield "stale", changed

    def _without_record(self, job: Job) -> Iterator[tuple[str, str]]:
        """The same of a job without a record, of which something is lacking in any case."""
        there = [path for path in job.outputs if Path(path).exists()]
        entry = self.ledger.entry(job)
        if entry is None:
            yield (("stale", f"no record proves {there[0]}") if there else ("not run", "it has no result"))
        elif moved := self._moved_on(job, entry):
            yield "stale", f"{moved} is not what {LOCK} says"
        for path in there:
            if not self.ledger.names(job, self.hasher, path):
                if path not in job.in_git:
                    yield "stale", f"no record proves {path}"
                yield "tampered", f"{path} is other bytes than {LOCK} has"
        away = next((path for path in job.outputs if path not in there), job.record)
        yield AWAY, f"{away} is not here"

    def _moved_on(self, job: Job, entry: Entry) -> str | None:
        """The first of what a job would use now that an entry of dvc.lock has otherwise."""
        now = self._fingerprint(job)
        said = {dep["path"]: dep for dep in entry.get("deps", [])}
        for path, digest in (now["inputs"] | now["versioned"]).items():
            if path not in said or said[path].get("md5") != digest.get("md5"):
                return path
        return other_setting(entry, now["params"])

    def _fingerprint(self, job: Job) -> Fingerprint:
        """What a job would use now; inputs that are not here as their own records or dvc.lock say."""
        here = {
            path: self.hasher(Path(path)).as_dict()
            for path in (*job.inputs, *job.code_paths)
            if Path(path).exists()
        }
        return {
            "params": job.params,
            "inputs": {path: here.get(path) or self.known_of(path) for path in job.inputs},
            "versioned": {path: here.get(path, {}) for path in job.code_paths},
            "packages": dict(versions(job.stage.packages)),
        }

    def known_of(self, path: str) -> dict[str, Any]:
        """What the record of its job, or else dvc.lock, says that an output holds; {} for nothing."""
        return super().known_of(path) or self.ledger.digest(self.maker[path], path) or {}

    def _damaged_copy(self, job: Job, record: Record) -> str | None:
        """A file of DVC's cache or of the kept ones that is not what its name promises."""
        named = {path: digest["md5"] for path, digest in record["outputs"].items()}
        for path, md5 in (named | {str(job.record): self.hasher(job.record).md5}).items():
            if damaged := next(self._damaged_in_cache(md5), None):
                return f"{damaged}, DVC's copy of {path}, is not what its name says"
        of_kept = read_sealed(kept_record(job)) or record
        if of_kept["key"] == record["key"]:  # else it was of other work
            of_kept = record
        for path, kept in kept_files(job):
            if kept.exists() and self.hasher(kept).as_dict() != of_kept["outputs"].get(str(path)):
                return f"{kept}, the kept copy of {path}, is not what the record says"
        return None

    def _spoilt(self, job: Job) -> Iterator[str]:
        """Where DVC's cache has damaged copies of what a job has made: these, and what may have come of them.
        All must go, since DVC reads neither anew."""
        copies = self._damaged_copies(job)
        if not copies:
            return
        yield from (path for path in _made(job) if Path(path).exists() and not self._vouched(job, path))
        if (FOLDER / job.name).exists():
            yield str(FOLDER / job.name)
        yield from copies

    def _vouched(self, job: Job, path: str) -> bool:
        """Whether an output or the record of a job is as dvc.lock, or the record, has it."""
        if path in job.in_git or self.hasher(Path(path)).md5 == self._entered(job).get(path):
            return True
        record = believed(job)
        if record is None or path == str(job.record):
            return record is not None
        return path in record["outputs"] and not changed_output([path], record, self.hasher)

    def _damaged_copies(self, job: Job) -> list[str]:
        """The damaged files of DVC's cache of what the record of a job or dvc.lock says that it has made."""
        record = believed(job) or {"outputs": {}}
        named = {digest["md5"] for digest in record["outputs"].values()} | {*self._entered(job).values()}
        return sorted(str(file) for md5 in named for file in self._damaged_in_cache(md5))

    def _entered(self, job: Job) -> dict[str, str]:
        """The MD5 of each output of a job, and of its record, that dvc.lock has."""
        with suppress(KeyError, TypeError, AttributeError):  # an entry that is none is told otherwise
            digests = {path: self.ledger.digest(job, path) for path in _made(job)}
            return {path: str(digest["md5"]) for path, digest in digests.items() if digest}
        return {}

    def _damaged_in_cache(self, md5: str) -> Iterator[Path]:
        """The damaged files of what DVC's cache has by a hash: of a folder its list, else its files."""
        file, name = cached(md5), md5.removesuffix(".dir")
        if file is None:
            return
        if name != self.hasher.file(file).md5 and name != self.hasher.anew(file).md5:
            yield file
        elif md5.endswith(".dir"):
            for member in json.loads(file.read_bytes()):
                yield from self._damaged_in_cache(member["md5"])


def _made(job: Job) -> tuple[str, ...]:
    """A job's outputs and its record."""
    return *job.outputs, str(job.record)
