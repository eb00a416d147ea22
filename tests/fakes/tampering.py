"""Single random changes of a project with results, and what must be said of each.

Every kind of change is a function from a random generator to a Change. What is expected follows from
the pipeline's own lists of inputs, parameters and code.
"""

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import yaml

from hier import yaml12
from hier.config.settings import Settings
from hier.errors import ConfigError
from hier.files.hashing import KNOWN
from hier.jobs import Job, jobs
from hier.ledger.dvc_lock import LOCK, cache_folder
from hier.ledger.record import read_record, sealed
from hier.pipeline import METRICS

KEPT = Path(".hier/kept")
Params = TypeVar("Params", Settings, dict[str, Any])
Reports = dict[str, tuple[str, str]]  # by job: its status, and what the reason must name


@dataclass
class Change:
    """New contents of files, and what must be reported of them.

    Attributes:
        reports: every job of which something must be said; of no other job may anything be said.
        damaged: checkpoints that must be named.
        back_dated: whether the times of the last modification are set back afterwards.
        of_results: whether it says anything about the cells of a run.
    """

    what: str
    contents: dict[Path, bytes]
    reports: Reports = field(default_factory=dict)
    damaged: tuple[Path, ...] = ()
    back_dated: bool = False
    of_results: bool = True

    def make(self) -> Callable[[], None]:
        """Change the files; returns what puts the old bytes back."""
        before = {path: path.read_bytes() if path.exists() else None for path in self.contents}
        for path, content in self.contents.items():
            write(path, content, self.back_dated)

        def undo() -> None:
            for path, content in before.items():
                path.unlink() if content is None else write(path, content)

        return undo


def write(path: Path, content: bytes, back_dated: bool = False) -> None:
    """Change a file in place; a kept copy, which may be a second name of an output, by itself."""
    if not path.exists():
        path.write_bytes(content)
        return
    before = path.stat()
    if path.is_relative_to(KEPT):
        path.unlink()
    else:
        path.chmod(0o644)  # DVC's cache is read-only
    path.write_bytes(content)
    path.chmod(before.st_mode)
    if back_dated:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Tree:
    """The project in the current folder, untouched, and the kinds of changes to it."""

    def __init__(self) -> None:
        self.params = Settings.read()
        self.jobs = list(jobs(self.params))
        self.kinds: dict[str, Callable[[Random], Change]] = {
            "byte of an output": self.output,
            "byte of an output, back-dated": lambda r: back_dated(self.output(r)),
            "byte of a record": self.record,
            "byte of a checkpoint": self.checkpoint,
            "byte in DVC's cache": self.cache,
            "byte in DVC's cache, back-dated": lambda r: back_dated(self.cache(r)),
            "byte of a kept copy": self.kept,
            "byte of a proof by rerun": self.proof,
            "byte of the remembered hashes": self.remembered,
            "edited metric": self.metric,
            "swapped outputs of two runs": self.swapped_outputs,
            "swapped records": self.swapped_records,
            "output with a record sealed to fit": self.forged,
            "file more in an archive": self.more_in_archive,
            "edited dvc.lock": self.lock,
            "entry taken out of dvc.lock": self.taken_out,
            "byte of dvc.lock that is no text": self.no_text,
            "edited parameter": self.parameter,
            "number of workers": self.workers,
            "edited source line": self.source,
            "edited source line, back-dated": lambda r: back_dated(self.source(r)),
            "source file more": self.more_source,
            "source that no stage uses": self.unused_source,
            "edited table of the paper": self.table,
        }

    # Files that the pipeline made.

    def output(self, random: Random) -> Change:
        job = random.choice(self.jobs)
        path = random.choice(job.outputs)
        file = random.choice(files(Path(path)))
        return Change(str(file), {file: flipped(file, random)}, self.altered(job, path))

    def altered(self, job: Job, path: str) -> Reports:
        """An output is not what it was: its job is tampered, and who reads it is stale."""
        readers = {j.name: ("stale", path) for j in self.jobs if path in j.inputs}
        return readers | {job.name: ("tampered", path)}

    def record(self, random: Random) -> Change:
        job = random.choice(self.jobs)
        contents = {job.record: flipped(job.record, random)}
        return Change(str(job.record), contents, {job.name: ("tampered", str(job.record))})

    def forged(self, random: Random) -> Change:
        """Other bytes of an output, and a record that vouches for them, in all copies but DVC's."""
        job = random.choice([job for job in self.jobs if not job.stage.directory])
        path = random.choice(job.outputs)
        content = flipped(Path(path), random)
        record = read_record(job)
        hashes = {name: hashlib.new(name, content).hexdigest() for name in ("sha256", "md5")}
        record["outputs"][path] |= hashes
        kept = KEPT / job.name / Path(path).name
        contents = {Path(path): content, kept: content, job.record: sealed(record).encode()}
        return Change(f"forged {path}", contents, self.altered(job, path))

    def checkpoint(self, random: Random) -> Change:
        path = random.choice(files(Path(".checkpoints")))
        return Change(str(path), {path: flipped(path, random)}, damaged=(path,))

    def cache(self, random: Random) -> Change:
        path = random.choice(files(cache_folder()))
        md5 = path.parent.name + path.name
        holders = [job.name for job in self.jobs if md5 in self.cached(job)]
        assert holders, f"{path} is nobody's"
        reports = {name: ("tampered", str(path)) for name in holders}
        return Change(str(path), {path: flipped(path, random)}, reports)

    def cached(self, job: Job) -> set[str]:
        """MD5 of all that DVC's cache has of a job."""
        entry = yaml12.load(LOCK.read_text())["stages"][job.dvc_name]
        found = {out["md5"] for out in entry["outs"]}
        for listing in [md5 for md5 in found if md5.endswith(".dir")]:
            text = (cache_folder() / "files/md5" / listing[:2] / listing[2:]).read_text()
            found |= {member["md5"] for member in json.loads(text)}
        return found

    def kept(self, random: Random) -> Change:
        path = random.choice(files(KEPT))
        name = path.relative_to(KEPT).parts[0]
        kept = KEPT / name / path.relative_to(KEPT).parts[1]
        return Change(str(path), {path: flipped(path, random)}, {name: ("tampered", str(kept))})

    def proof(self, random: Random) -> Change:
        path = random.choice(sorted(Path("runs").glob("*/rerun.json")))
        reports = {f"evaluate@{path.parent.name}": ("tampered", str(path))}
        return Change(str(path), {path: flipped(path, random)}, reports, of_results=False)

    def remembered(self, random: Random) -> Change:
        return Change(str(KNOWN), {KNOWN: flipped(KNOWN, random)})

    def metric(self, random: Random) -> Change:
        job = random.choice([job for job in self.jobs if job.stage.name == "evaluate"])
        path = METRICS.format(run=job.key)
        metrics = json.loads(Path(path).read_text())
        metrics["recall"]["1"] = round(random.random(), 6)
        text = json.dumps(metrics, indent=2) + "\n"
        return Change(path, {Path(path): text.encode()}, self.altered(job, path))

    def swapped_outputs(self, random: Random) -> Change:
        stage = random.choice(["train", "train", "embed", "evaluate", "views"])
        one, other = random.sample([job for job in self.jobs if job.stage.name == stage], 2)
        number = random.randrange(len(one.outputs))
        paths = one.outputs[number], other.outputs[number]
        reports: Reports = {}
        for job, path in zip((one, other), paths, strict=True):
            reports |= {k: v for k, v in self.altered(job, path).items() if k not in reports}
        for name, (status, _) in reports.items():
            if status == "stale":  # of two inputs the first in the alphabet is named
                (reader,) = (job for job in self.jobs if job.name == name)
                reports[name] = ("stale", min(p for p in paths if p in reader.inputs))
        return Change(" and ".join(paths), swapped(*map(Path, paths)), reports)

    def swapped_records(self, random: Random) -> Change:
        pair = random.sample(self.jobs, 2)
        reports = {job.name: ("tampered", str(job.record)) for job in pair}
        names = " and ".join(str(job.record) for job in pair)
        return Change(names, swapped(*(job.record for job in pair)), reports)

    def more_in_archive(self, random: Random) -> Change:
        job = random.choice([job for job in self.jobs if job.stage.name == "download"])
        (path,) = job.outputs
        more = Path(path) / f"more-{random.randrange(1000)}.tgz"
        return Change(str(more), {more: random.randbytes(40)}, self.altered(job, path))

    # dvc.lock.

    def lock(self, random: Random) -> Change:
        lock = yaml12.load(LOCK.read_text())
        job = random.choice(self.jobs)
        entry = lock["stages"][job.dvc_name]
        what = random.choice(sorted(LOCK_EDITS))
        LOCK_EDITS[what](entry, job, random)
        text = yaml.safe_dump(lock, sort_keys=False).encode()
        return Change(
            f"{what} of {job.name}", {LOCK: text}, {job.name: ("tampered", "dvc.lock has an entry")}
            if what in ("md5 of the record", "path of the record") else
            {job.name: ("tampered", "dvc.lock")},
        )  # fmt: skip

    def taken_out(self, random: Random) -> Change:
        lock = yaml12.load(LOCK.read_text())
        job = random.choice(self.jobs)
        del lock["stages"][job.dvc_name]
        text = yaml.safe_dump(lock, sort_keys=False).encode()
        reports = {job.name: ("tampered", "dvc.lock lacks its entry")}
        return Change(f"without {job.name}", {LOCK: text}, reports)

    def no_text(self, random: Random) -> Change:
        content = bytearray(LOCK.read_bytes())
        content[random.randrange(len(content))] = random.randint(0xF8, 0xFF)
        reports = {job.name: ("tampered", "dvc.lock cannot be read") for job in self.jobs}
        return Change(str(LOCK), {LOCK: bytes(content)}, reports)

    # What goes in.

    def parameter(self, random: Random) -> Change:
        """A leaf of the settings such that the whole is still a suite."""
        leaves = [(key, value) for key, value in walk(vars(self.params)) if key[0] != "suites"]
        while True:
            key, value = random.choice(leaves)
            if (new := other(value, random)) is None:
                continue
            params = edited(self.params, key, new)
            try:
                params.suite()
            except (ConfigError, TypeError):
                continue
            if key[-1] != "workers":
                return self.parameters(key, params)

    def workers(self, random: Random) -> Change:
        run = random.choice(list(self.params.runs))
        key = ("runs", run, "runtime", "workers")
        return self.parameters(key, edited(self.params, key, random.randint(1, 16)))

    def parameters(self, key: tuple[str, ...], params: Settings) -> Change:
        dotted = ".".join(key)
        reports = {}
        for job in self.jobs:
            if hit := [p for p in job.params if f"{dotted}.".startswith(f"{p}.")]:
                reports[job.name] = ("stale", f"parameter {hit[0]} ")
        changed = {p: t.encode() for p, t in params.texts().items() if p.read_text() != t}
        reports |= {name: report for path in changed for name, report in self.users(path).items()}
        return Change(dotted, changed, reports)

    def source(self, random: Random) -> Change:
        path = random.choice([p for p in sources() if self.users(p)])
        lines = path.read_text().splitlines(keepends=True)
        number = random.randrange(len(lines))
        lines[number] = lines[number].rstrip("\n") + random.choice(["  # x", " ", "x"]) + "\n"
        what = f"{path}:{number + 1}"
        return Change(what, {path: "".join(lines).encode()}, self.users(path))

    def more_source(self, random: Random) -> Change:
        folder = random.choice(sorted({p.parent for p in sources()}))
        path = folder / f"more_{random.randrange(1000)}.py"
        return Change(str(path), {path: b"x = 1\n"}, self.users(path))

    def unused_source(self, random: Random) -> Change:
        path = random.choice([p for p in sources() if not self.users(p)])
        return Change(str(path), {path: path.read_bytes() + b"x\n"})

    def users(self, path: Path) -> Reports:
        """The jobs whose code or tables a file is part of; they become stale."""
        found: Reports = {}
        for job in self.jobs:
            hit = [v for v in job.code_paths if path == Path(v) or Path(v) in path.parents]
            if hit:
                found[job.name] = ("stale", min(hit))
        return found

    def table(self, random: Random) -> Change:
        path = Path("expected/paper.csv")
        lines = path.read_text().splitlines(keepends=True)
        number = random.randrange(1, len(lines))
        head, comma, figure = lines[number].rpartition(",")
        lines[number] = f"{head}{comma}{float(figure) + 1:.1f}\n"
        what = f"{path}:{number + 1}"
        return Change(what, {path: "".join(lines).encode()}, self.users(path))


def _other_digit(digits: str, random: Random) -> str:
    place = random.randrange(32)  # not in a folder's ending .dir
    return digits[:place] + f"{(int(digits[place], 16) + 1) % 16:x}" + digits[place + 1 :]


def _md5(kind: str, which: Callable[[list[Any], Job], list[Any]]) -> Callable[..., None]:
    def edit(entry: dict[str, Any], job: Job, random: Random) -> None:
        item = random.choice(which(entry[kind], job))
        item["md5"] = _other_digit(item["md5"], random)

    return edit


def _size(entry: dict[str, Any], job: Job, random: Random) -> None:
    random.choice(entry["outs"] + entry["deps"])["size"] += random.choice([-1, 1])


def _parameter(entry: dict[str, Any], job: Job, random: Random) -> None:
    params = entry["params"]
    leaves = [(key, value) for key, value in walk(params) if other(value, random) is not None]
    key, value = random.choice(leaves)
    entry["params"] = edited(params, key, other(value, random))


def _command(entry: dict[str, Any], job: Job, random: Random) -> None:
    entry["cmd"] = entry["cmd"].replace("hier", "true &&" + " hier", 1)


def _path(entry: dict[str, Any], job: Job, random: Random) -> None:
    random.choice([i for i in entry["outs"] + entry["deps"] if i["path"] != str(job.record)])["path"] += "x"


def _kind_of_hash(entry: dict[str, Any], job: Job, random: Random) -> None:
    random.choice(entry["outs"] + entry["deps"])["hash"] = "etag"


def _record_path(entry: dict[str, Any], job: Job, random: Random) -> None:
    _records(entry["outs"], job)[0]["path"] += "x"


def _records(outs: list[Any], job: Job) -> list[Any]:
    return [out for out in outs if out["path"] == str(job.record)]


LOCK_EDITS: dict[str, Callable[[dict[str, Any], Job, Random], None]] = {
    "md5 of an output": _md5("outs", lambda outs, job: [o for o in outs if o not in _records(outs, job)]),
    "md5 of the record": _md5("outs", _records),
    "md5 of a dependency": _md5("deps", lambda deps, job: deps),
    "size": _size,
    "kind of hash": _kind_of_hash,
    "parameter": _parameter,
    "command": _command,
    "path": _path,
    "path of the record": _record_path,
}  # fmt: skip


def back_dated(change: Change) -> Change:
    """The same, keeping the length and the time of the last modification."""
    for path, content in change.contents.items():
        size = path.stat().st_size
        assert change.back_dated is False
        change.contents[path] = content[:size]
    change.back_dated = True
    return change


def flipped(path: Path, random: Random) -> bytes:
    """A file with one byte changed; an empty one gets a byte."""
    content = bytearray(path.read_bytes() or b"\0")
    content[random.randrange(len(content))] ^= random.randint(1, 255)
    return bytes(content)


def swapped(one: Path, other: Path) -> dict[Path, bytes]:
    contents = {one: other.read_bytes(), other: one.read_bytes()}
    assert contents[one] != contents[other], f"{one} and {other} are the same"
    return contents


def files(path: Path) -> list[Path]:
    """A file, or all files of a folder; Snakemake's time stamps are nobody's."""
    if path.is_file():
        return [path]
    return sorted(f for f in path.rglob("*") if f.is_file() and f.name != ".snakemake_timestamp")


def sources() -> list[Path]:
    """The files of the package, empty ones left out."""
    found = files(Path("src/hier"))
    return [f for f in found if f.suffix in (".py", ".j2", ".css", ".js") and f.stat().st_size]


def walk(node: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of nested mappings; lists are leaves."""
    if not isinstance(node, dict):
        yield key, node
        return
    for name, value in node.items():
        yield from walk(value, (*key, name))


def edited(params: Params, key: tuple[str, ...], value: Any) -> Params:
    """A copy of settings, or of an entry's in dvc.lock, with another value at a key."""
    params = copy.deepcopy(params)
    node = params if isinstance(params, dict) else vars(params)
    for name in key[:-1]:
        node = node[name]
    node[key[-1]] = value
    return params


def other(value: Any, random: Random) -> Any:
    """Another value of the same kind; None where there is none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + random.randint(1, 3)
    if isinstance(value, float):
        return value * random.choice([0.5, 0.9, 1.1]) if value else 0.1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list) and value:
        first = other(value[0], random)
        return None if first is None else [first, *value[1:]]
    return None


def proof_of(run: str, params: Settings) -> dict[str, Any]:
    """What a rerun of the same bytes notes of a run."""
    dataset = params.runs[run]["dataset"]
    names = {
        f"prepare@{dataset}",
        f"train@{run}",
        f"embed@{run}",
        f"evaluate@{run}",
        f"views@{run}",
    }
    records = {}
    for job in (job for job in jobs(params) if job.name in names):
        record = read_record(job)
        assert record is not None
        outputs = {path: digest["sha256"] for path, digest in record["outputs"].items()}
        records[str(job.record)] = {"key": record["key"], "outputs": outputs}
    return {"run": run, "date": "2026-01-31", "records": records}
