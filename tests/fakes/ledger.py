"""A made-up ledger: every job of params.yaml with small outputs, a true record and an entry in dvc.lock."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from hier.config.settings import Settings, by_file
from hier.files import atomic, hashing
from hier.files.hashing import Hasher
from hier.jobs import Job, jobs
from hier.ledger import record
from hier.ledger.record import parse_record, recorded


def make_ledger() -> int:
    """Fill the current folder; returns how many jobs there are."""
    params = Settings.read()
    entries = {}
    with one_hasher() as hasher:
        for job in jobs(params):
            with recorded(job):
                for path in job.outputs:
                    make_output(Path(path), params, job)
            entries[job.dvc_name] = lock_entry(job, hasher)
    lock = {"schema": "2.0", "stages": entries}
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast
    Path("dvc.lock").write_text(yaml.dump(lock, sort_keys=False, Dumper=dumper))
    return len(entries)


@contextmanager
def one_hasher() -> Iterator[Hasher]:
    """For all jobs, since nothing changes what one of them has made: hashes are read and remembered once,
    a tick of the file system's clock is waited for once, and no record is waited for until it is on disk."""
    hasher = Hasher()
    with (
        patch.object(record, "hashing", lambda: nullcontext(hasher)),
        patch.object(hashing, "TICK", 0),
        patch.object(atomic, "_fsync", lambda *_: None),
    ):
        yield hasher
    time.sleep(hashing.TICK / 1e9)
    hasher.save()


def make_output(path: Path, params: Settings, job: Job) -> None:
    if job.stage.directory:
        path.mkdir(parents=True, exist_ok=True)
        path = path / ("images.tgz" if path.name == "archive" else "index.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(metrics(params, job) if path.name == "metrics.json" else f"{path}\n")


def metrics(params: Settings, job: Job) -> str:
    ks = params.datasets[params.runs[job.key]["dataset"]]["ks"]
    return json.dumps({"recall": {str(k): 0.5 for k in ks}, "map_at_r": 0.25})


def lock_entry(job: Job, hasher: Hasher) -> dict[str, Any]:
    """What DVC would write of the job."""
    record = parse_record(job.record.read_bytes(), job.record)

    def item(path: str, digest: dict[str, Any]) -> dict[str, Any]:
        rest = {name: digest[name] for name in ("md5", "size", "nfiles") if name in digest}
        return {"path": path, "hash": "md5", **rest}

    own = {str(job.record): hasher(job.record).as_dict()}
    return {
        "cmd": record["command"],
        "deps": [item(p, d) for kind in ("inputs", "versioned") for p, d in record[kind].items()],
        "params": by_file(record["params"]),
        "outs": [item(path, digest) for path, digest in (record["outputs"] | own).items()],
    }
