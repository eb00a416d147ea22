"""Where the files of an archive, and pretrained weights, come from and what was promised of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hier.files.hashing import Hasher
from hier.jobs import Job
from hier.ledger.record import Record
from hier.models.description import read_description
from hier.pipeline import ARCHIVE, MODEL


@dataclass(frozen=True)
class Origin:
    """A file of an archive or of pretrained weights, and where it comes from."""

    name: str
    sha256: str | None
    size: int | None = None
    seed: int | None = None  # from which it was drawn
    addresses: list[str] = field(default_factory=list)  # where it can be had, the canonical one first
    package: str | None = None  # the installed package that it lies in
    promised: dict[str, str] = field(default_factory=dict)  # what the configuration promises of it, by kind
    kept: bool | None = None  # whether the bytes are what was promised; None where that cannot be seen here
    since: str | None = None  # the day on which they were taken, as the record says


def origins_of(job: Job, record: Record | None, hasher: Hasher) -> list[Origin]:
    """The origins of what a download brought, or of the weights that a training starts from."""
    if job.stage.name not in ("download", "train"):
        return []
    settings = without_names(record["params"] if record else job.params)
    if job.stage.name == "download":
        since = (record or {}).get("ended", "")[:10] or None
        return [replace(o, since=since) for o in _archive(job, settings, hasher)]
    weights = settings["backbone"]["weights"]
    return [_weights(weights, job.key)] if weights else []


def describe_origin(origin: Origin) -> list[str]:
    """Where a file comes from, and what was promised of it; a line each."""
    lines = [] if origin.seed is None else [f"drawn from seed {origin.seed}"]
    lines += [f"in package {origin.package}"] if origin.package else []
    lines += [f"from {address}" for address in origin.addresses]
    lines = lines or ["from a mirror, or put there by hand; it has no address"]
    kept = {True: "kept", False: "broken: the bytes are other", None: "tested when it was read"}
    for kind, value in origin.promised.items():
        if kind == "unproved":
            taken = f"; sha256 {(origin.sha256 or '–')[:12]} since {origin.since}"
            lines.append(f"no promise ({value})" + (taken if origin.since else ""))
        else:
            lines.append(f"promised {kind} {value}: {kept[origin.kept]}")
    return lines


def without_names(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a record without `runs.<run>.` and `datasets.<dataset>.` before them."""
    return {
        key.split(".", 2)[2] if key.startswith(("runs.", "datasets.")) else key: value
        for key, value in params.items()
    }


def _archive(job: Job, settings: dict[str, Any], hasher: Hasher) -> Iterator[Origin]:
    """Each file of the archive with its promise; files of the first source where none is here."""
    folder = Path(ARCHIVE.format(dataset=job.key))
    paths = sorted(p for p in folder.glob("*") if p.is_file() and p.name[0] != ".")
    here = {path.name: hasher.file(path).as_dict() for path in paths}
    if settings["generate"]:
        for name, digest in (here or {f"{job.key}.tgz": {}}).items():
            seed = settings["generate"]["seed"]
            yield Origin(name, digest.get("sha256"), digest.get("size"), seed=seed)
        return
    sources = [source["files"] for source in settings["sources"]]
    complete = (files for files in sources if {file["name"] for file in files} <= here.keys())
    kinds = ("sha256", "md5", "contents", "manifest", "unproved")
    for promise in next(complete, sources[0]):
        digest = here.get(promise["name"], {})
        promised = {kind: _in_words(promise[kind]) for kind in kinds if promise.get(kind)}
        tested = (digest[kind] == value for kind, value in promised.items() if kind in digest)
        yield Origin(
            promise["name"], digest.get("sha256"), digest.get("size"), kept=next(tested, None),
            addresses=_addresses(promise), promised=promised,
        )  # fmt: skip


def _weights(weights: dict[str, Any], run: str) -> Origin:
    """Pretrained weights; which bytes a training started from, it wrote into the model's header."""
    started_from = read_description(Path(MODEL.format(run=run))).get("weights_sha256")
    promised = weights.get("sha256")
    return Origin(
        weights["file"], started_from, package=weights.get("package"),
        addresses=_addresses(weights), promised={"sha256": promised} if promised else {},
        kept=started_from.startswith(promised) if started_from and promised else None,
    )  # fmt: skip


def _in_words(promised: str | dict[str, str]) -> str:
    """A promise as it is said: a hash or a reason as it is, a manifest by its name and hash."""
    return promised if isinstance(promised, str) else f"{promised['list']} (sha256 {promised['sha256']})"


def _addresses(promise: dict[str, Any]) -> list[str]:
    places = (promise.get("folder"), promise.get("url"), *promise.get("alternates", []))
    return [place for place in places if place]
