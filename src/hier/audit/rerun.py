"""`hier verify --rerun`: rebuild runs elsewhere, from their archives, and compare every artifact.

A record can be forged together with the bytes that it vouches for; the numbers that the recorded code
gives cannot. runs/<run>/rerun.json notes that every artifact came out as the same bytes (the run is
proved), or which one did not (it is refuted), and holds as long as the records are those of then.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hier.audit.audit import LedgerAudit
from hier.audit.file_diff import difference
from hier.config.settings import Settings
from hier.config.suite import Suite
from hier.errors import HierError, ReproductionError, RerunError, TamperedError
from hier.files.atomic import full_disk_is_clear, write_text, write_texts
from hier.files.hashing import IGNORED, Hasher, hash_file
from hier.jobs import Job, job, jobs_of
from hier.ledger.record import FORMAT, Record, read_record, read_sealed, sealed
from hier.pipeline import EXPECTED, STAGES

PROOF = "runs/{run}/rerun.json"
COPIED = ("src", "conf", EXPECTED, "requirements.lock")
LINKED = ("weights", "downloads")

Say = Callable[[str], None]


def proved_by_rerun(run: str) -> str | None:
    """The date on which a rerun gave the bytes of the present records, or None."""
    note = _note_that_holds(run)
    return None if note is None or note.get("differs") else str(note["date"])


def refuted_by_rerun(run: str) -> str | None:
    """When a rerun gave other bytes than the present records have, and which; or None."""
    note = _note_that_holds(run)
    return f"on {note['date']}: {note['differs']}" if note and note.get("differs") else None


def tampered_proof(run: str) -> str | None:
    """What is wrong with the note of a run's rerun as a file; None where nothing is."""
    try:
        read_sealed(Path(PROOF.format(run=run)))
    except TamperedError as error:
        return str(error)
    return None


def _note_that_holds(run: str) -> Record | None:
    """The note of a run's last rerun, where the records are still those of then."""
    with suppress(TamperedError, KeyError):
        note = read_sealed(Path(PROOF.format(run=run)))
        own = {stage.record.format(run=run) for stage in STAGES.values() if stage.scope == "run"}
        if note and note["run"] == run and own <= note["records"].keys():
            present = {path: _vouched(read_sealed(Path(path))) for path in note["records"]}
            return note if present == note["records"] else None
    return None


def rerun_runs(suite: Suite, number: int, seed: int, say: Say | None = None) -> list[str]:
    """Rebuild up to `number` current runs of the suite, picked at random from `seed`, and note which
    come out as the same bytes; their names, if all do. `say` takes a line of progress (standard error).

    Raises:
        ReproductionError: no run is current.
        RerunError: some run gave other bytes or could not be rebuilt; all picked ones were tried.
        TamperedError: an archive is not the bytes of its record.
        DiskFullError: no space for a copy.
    """
    say = say or partial(print, file=sys.stderr, flush=True)
    picked = _pick(suite, number, seed, say)
    failures = []
    with TemporaryDirectory(prefix="hier-rerun-", ignore_cleanup_errors=True) as folder:
        elsewhere = Elsewhere(Path(folder), suite, picked, say)
        for run in picked:
            try:
                elsewhere.prove(run)
            except HierError as error:
                say(f"{run}: {error}")
                failures.append(f"{run}: {error}")
    if failures:
        said = f"{len(failures)} of {len(picked)} rebuilt runs are not what was recorded"
        raise RerunError(f"{said}: {'; '.join(failures)}")
    return picked


class Elsewhere:
    """A separate folder, empty before, in which some runs are made anew: versioned files and archives, no
    results, and a params.yaml that names no others."""

    def __init__(self, folder: Path, suite: Suite, runs: list[str], say: Say) -> None:
        self.folder, self.say = folder, say
        self.settings = Settings.of(suite).of_runs(runs)
        with full_disk_is_clear(folder / "src"):
            _copy_versioned(folder)
            write_texts({folder / path: text for path, text in self.settings.texts().items()})
            for dataset in self.settings.datasets:
                self._take_archive(job("download", dataset, self.settings))
                self._link_photos(dataset)

    def prove(self, run: str) -> None:
        """Rebuild a run, and note that it is proved or refuted; RerunError where an artifact is not the
        same bytes, HierError where a stage failed."""
        records = {work: _recorded(work) for work in jobs_of(run, self.settings)[1:]}
        differs = next(self._differences(run, records), None)
        made_on = read_sealed(self.folder / STAGES["train"].record.format(run=run)) or {}
        content = {
            "format": FORMAT, "run": run, "date": datetime.now(UTC).date().isoformat(),
            "differs": differs, "machine": made_on.get("environment"),
            "records": {str(work.record): _vouched(record) for work, record in records.items()},
        }  # fmt: skip
        write_text(Path(PROOF.format(run=run)), sealed(content))
        if differs:
            raise RerunError(differs)
        self.say(f"{run}: every artifact came out as the same bytes")

    def _differences(self, run: str, records: dict[Job, Record]) -> Iterator[str]:
        """Make a run stage by stage; each artifact that is not the same bytes, and how it differs."""
        for work, record in records.items():
            if not (self.folder / work.record).exists():
                self.say(f"rebuilding {run}: {work.stage.name} …")
                self._make(work)
            for path, made in ((path, self.folder / path) for path in work.outputs):
                if hash_file(made).sha256 != record["outputs"][path]["sha256"]:
                    here = Path(path).exists()
                    how = difference(Path(path), made) if here else "it is no longer here"
                    yield f"{path} differs: {how}"

    def _take_archive(self, work: Job) -> None:
        """Link or copy a dataset's archive, and hold what is here now against the record."""
        (path,) = work.outputs
        self.say(f"taking {path}")
        ignored = shutil.ignore_patterns(*IGNORED)
        shutil.copytree(path, self.folder / path, copy_function=_link_or_copy, ignore=ignored)
        if Hasher(deep=True)(self.folder / path).as_dict() != _recorded(work)["outputs"][path]:
            raise TamperedError(f"{path} is not the bytes that its record says")

    def _link_photos(self, dataset: str) -> None:
        """Photos that are read in place, in a folder of the project, are to be found from the copy, too."""
        for source in self.settings.datasets[dataset]["sources"]:
            for folder in {file["folder"] for file in source["files"]} - {None}:
                there = self.folder / folder
                if not there.exists():  # nor is it absolute
                    there.parent.mkdir(parents=True, exist_ok=True)
                    there.symlink_to(Path(folder).absolute())

    def _make(self, work: Job) -> None:
        """Run a stage in a process of its own, with the code that lies beside it."""
        paths = [str(self.folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}
        process = subprocess.Popen(
            [sys.executable, "-m", "hier", *work.command.split()[1:]],
            cwd=self.folder, env=os.environ | own, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        )  # fmt: skip
        last = ""
        with process:
            try:
                for line in filter(None, map(str.strip, process.stdout or ())):
                    last = line
                    self.say(f"  {last}")
            except BaseException:  # Ctrl-C, too: what it makes is thrown away
                process.kill()
                raise
        if process.returncode:
            said = last.removeprefix("error: ") or f"exit code {process.returncode}"
            raise HierError(f"{work.stage.name} failed: {said}")


def _pick(suite: Suite, number: int, seed: int, say: Say) -> list[str]:
    """Some of the runs whose every stage is current; the others are named."""
    settings = Settings.of(suite)
    found = {finding.job.name: finding for finding in LedgerAudit(settings).findings()}
    current = []
    for run in suite.runs:
        own = [found.get(work.name) for work in jobs_of(run, settings)]
        if None in own:
            say(f"left out: {run}, since its data could not be had")
        elif wrong := next((f for f in own if f and f.status != "current"), None):
            say(f"left out: {run}, since {wrong.describe()}")
        else:
            current.append(run)
    if not current:
        raise ReproductionError("no run is current, so none can be proved by a rerun")
    picked = Random(seed).sample(current, min(number, len(current)))
    say(f"rerun with seed {seed}: {', '.join(picked)} ({len(picked)} of {len(current)} current runs)")
    return picked


def _copy_versioned(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for path in map(Path, COPIED):
        if path.is_dir():
            shutil.copytree(path, folder / path, ignore=ignored)
        elif path.exists():
            shutil.copy2(path, folder / path)
    for path in map(Path, LINKED):
        if path.exists():
            (folder / path).symlink_to(path.resolve())


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(Path(source).resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _recorded(work: Job) -> Record:
    if record := read_record(work):
        return record
    raise ReproductionError(f"{work.record} is gone")


def _vouched(record: Record | None) -> dict[str, Any] | None:
    """What a rerun is held against: a record's key and the hashes of its outputs."""
    outputs = record["outputs"] if record else {}
    hashes = {path: digest["sha256"] for path, digest in outputs.items()}
    return {"key": record["key"], "outputs": hashes} if record else None
