"""Each stage's record, `<stage>.record.json` beside its outputs: what went in, what came out, and the
machine that did it.

Times and the machine stand here, never in an output, so that the outputs of two runs can be the same
bytes. The `seal` is the SHA-256 of all the rest, so that a record in which something was changed says so.
The `key` is one hash of all that the outputs follow from: inputs, code, parameters, and the versions of
the packages that the stage computes with. The kind of machine is no part of it: a result that came from
another one stands, and `hier verify` says what it is worth.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from hier.errors import MissingInputError, StaleError, TamperedError
from hier.files.atomic import write_text
from hier.files.hashing import Hasher, hashing
from hier.jobs import Job, maker
from hier.ledger.arrival import changed_source
from hier.ledger.environment import environment, peak_memory, versions
from hier.ledger.loaded_code import Sources

FORMAT = 2
UNSEALED = "0" * 64

# What goes into a key, in the order in which a difference is told.
FINGERPRINT = {
    "params": "parameter",
    "inputs": "input",
    "versioned": "source",
    "packages": "version of package",
}

# What a record cannot lack; the rest is told, but nothing is decided by it. Each is of its kind.
SAYS = {"stage", "command", "key", *FINGERPRINT, "outputs"}
OF_DIGESTS = ("inputs", "versioned", "outputs")
KINDS: dict[str, tuple[type, ...]] = (
    dict.fromkeys((*FINGERPRINT, "outputs", "environment", "peak_memory"), (dict,))
    | dict.fromkeys(("stage", "command", "key", "started", "ended"), (str,))
    | {"seconds": (int, float)}
)

Record = dict[str, Any]
Fingerprint = dict[str, dict[str, Any]]


def fingerprint(job: Job, hasher: Hasher) -> Fingerprint:
    """Everything that a job's outputs follow from; MissingInputError where some of it is not there, with
    what brings it back."""
    return {
        "params": job.params,
        "inputs": _digests(job.inputs, hasher),
        "versioned": _digests(job.code_paths, hasher),
        "packages": dict(versions(job.stage.packages)),
    }


def _digests(paths: Iterable[str], hasher: Hasher) -> dict[str, Any]:
    for path in paths:
        if not Path(path).exists():
            raise MissingInputError(path, maker(path))
    return {path: hasher(Path(path)).as_dict() for path in paths}


def content_key(going_in: Fingerprint) -> str:
    """One hash of all that goes in."""
    content = {kind: going_in[kind] for kind in FINGERPRINT}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


@contextmanager
def recorded(job: Job) -> Iterator[str]:
    """Run a stage's work: check its inputs, give its key, and record what came out.

    The record is removed first and written last, so that an interrupted stage has none. Where the
    work fails before it has touched an output, the record of what is there comes back. MissingInputError
    where an input is not there, TamperedError where a folder stands where a file belongs, StaleError where an
    input changed while the stage ran, or source before it was loaded or read.
    """
    with hashing() as hasher:
        going_in = fingerprint(job, hasher)
        sources = Sources(job, hasher)
    _see_that_it_can_be_written(job)
    before = job.record.read_bytes() if job.record.exists() else None
    job.record.unlink(missing_ok=True)
    started, start = time.monotonic(), datetime.now(UTC)
    try:
        yield content_key(going_in)
    except BaseException:
        if before is not None and _still_vouches(before, job):
            write_text(job.record, before.decode())
        raise
    with hashing() as hasher:
        after = _digests(job.inputs, hasher)
        changed = [f"input {p}" for p in sorted(after) if after[p] != going_in["inputs"][p]]
        late = sources.changed_before_use(hasher)
        if moved := [*changed, *([f"source {late}"] if late else [])]:
            raise StaleError(f"{moved[0]} of {job.name} changed while it ran; run it again")
        record = {
            "format": FORMAT,
            "stage": job.name,
            "command": job.command,
            "key": content_key(going_in),
            **going_in,
            "inputs_after": after,
            "outputs": {path: hasher(Path(path)).as_dict() for path in job.outputs},
            "seed": job.settings.runs[job.key]["seed"] if job.stage.scope == "run" else None,
            "environment": environment(),
            "started": start.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 2),
            "peak_memory": peak_memory(),
        }
        write_text(job.record, sealed(record))
        hasher(job.record)


def _still_vouches(text: bytes, job: Job) -> bool:
    """Whether a job's outputs are what a record of before says."""
    with suppress(TamperedError, OSError, KeyError), hashing() as hasher:
        outputs = parse_record(text, job.record)["outputs"]
        return all(hasher(Path(path)).as_dict() == outputs.get(path) for path in job.outputs)
    return False


def sealed(record: Record) -> str:
    """A record as text, with its seal: the hash of this text with zeros in place of the seal."""
    seal = sha256(_pretty(record | {"seal": UNSEALED}).encode()).hexdigest()
    return _pretty(record | {"seal": seal})


def parse_record(text: bytes, path: Path) -> Record:
    """A record from its bytes; TamperedError where it is not as it was written."""
    try:
        record: Record = json.loads(text)
        said = record["seal"].encode()
        if sha256(text.replace(said, UNSEALED.encode())).hexdigest().encode() == said:
            return record
        reason = "does not match its seal"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        reason = "is no record"
    raise TamperedError(f"{path} {reason}")


def read_sealed(path: Path) -> Record | None:
    """A record from its file, or None where there is none; TamperedError where it is not as it was
    written."""
    try:
        return parse_record(path.read_bytes(), path)
    except FileNotFoundError:
        return None
    except OSError as error:  # a folder, or not ours to read
        raise TamperedError(f"{path} cannot be read: {error.strerror}") from error


def read_record(job: Job) -> Record | None:
    """A job's record, or None where there is none; TamperedError also where it is another job's."""
    record = read_sealed(job.record)
    if record is None:
        return None
    if record.get("stage") != job.name:
        raise TamperedError(f"{job.record} is the record of {record.get('stage')}")
    if not _is_whole(record) or record["key"] != content_key(record):
        raise TamperedError(f"{job.record} does not say what its key is made of")
    return record


def _is_whole(record: Record) -> bool:
    """Whether a record lacks nothing that it must say, and what it says is of its kind."""
    known = {name: kinds for name, kinds in KINDS.items() if name in record}
    if not record.keys() >= SAYS or any(type(record[name]) not in known[name] for name in known):
        return False
    digests = [digest for kind in OF_DIGESTS for digest in record[kind].values()]
    return all(isinstance(of, dict) and {"sha256", "md5"} <= of.keys() for of in digests)


def believed(job: Job) -> Record | None:
    """A job's record, or None where there is none that can be believed."""
    with suppress(TamperedError):
        return read_record(job)
    return None


def of_other_settings(job: Job) -> bool:
    """Whether a job has a record that does not say that the present settings made its outputs."""
    record = believed(job)
    return job.record.exists() and (record is None or record["params"] != job.params)


def stale_reason(job: Job, hasher: Hasher) -> str | None:
    """The first reason why a job's outputs are not current, or None where they are proved to be;
    MissingInputError where an input is not there."""
    try:
        record = read_record(job)
    except TamperedError as error:
        return f"has a record that proves nothing: {error}"
    if record is None:
        return "has no record"
    for path in job.outputs:
        if not Path(path).exists():
            return f"output {path} is missing"
    if moved := first_change(record, fingerprint(job, hasher)):
        return moved
    if changed := changed_output(job.outputs, record, hasher):
        return f"has output {changed} other than its record says"
    return changed_source(job, hasher)


def first_change(record: Record, now: Fingerprint) -> str | None:
    """The first of what went in that is no longer as the record has it, in words."""
    for kind, word in FINGERPRINT.items():
        then = record.get(kind, {})
        for name in sorted(then.keys() | now[kind].keys()):
            if not same(then.get(name), now[kind].get(name)):
                return f"has {word} {name} other than its record says"
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal; of digests, in the hashes that both have (dvc.lock has MD5 alone)."""
    if isinstance(one, dict) and isinstance(other, dict) and "md5" in one and "md5" in other:
        return all(one[name] == other[name] for name in one.keys() & other.keys())
    return bool(one == other)


def changed_output(paths: Iterable[str], record: Record, hasher: Hasher) -> str | None:
    """The first of some outputs whose bytes are not the record's (read again, to be sure of it)."""
    for path in paths:
        said = record["outputs"].get(path)
        if hasher(Path(path)).as_dict() != said and hasher.anew(Path(path)).as_dict() != said:
            return path
    return None


def _see_that_it_can_be_written(job: Job) -> None:
    """Before the old record goes, since what cannot be replaced should stay vouched for."""
    was = (believed(job) or {}).get("outputs", {})
    files = [path for path, digest in was.items() if "nfiles" not in digest]
    for path in map(Path, [*files, job.record]):
        if path.is_dir():
            raise TamperedError(f"{path} is a folder, but should be a file; rm -r {path}")


def _pretty(record: Record) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"
