"""A run's model as it lies in its folder: what it says of itself, and what its record proves of it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hier.config.dataset import Exif
from hier.config.run import Backbone, Embed, Head
from hier.errors import ConfigError, DamagedInputError, MissingInputError, TamperedError
from hier.files.hashing import Digest, hash_file
from hier.ledger.environment import versions
from hier.ledger.record import Record, content_key, read_sealed
from hier.models.description import read_description

MODEL, RECORD, EMBED_RECORD = "model.safetensors", "train.record.json", "embed.record.json"
ROUNDING = ("torch", "torchvision", "timm", "numpy", "pillow")
"""The packages whose version an embedding's last bits may depend on."""


@dataclass(frozen=True)
class Stored:
    """A model's file and the folder of its run, in which lies what else is known of it."""

    path: Path
    folder: Path
    described: dict[str, Any]  # as `describe_model` of hier.models.description has it

    @property
    def run(self) -> str:
        return str(self.described["run"])

    @property
    def metric(self) -> Literal["poincare", "cosine"]:
        found: Literal["poincare", "cosine"] = self.described["metric"]
        return found

    @cached_property
    def backbone(self) -> Backbone:
        return Backbone.model_validate(self.described["backbone"])

    @cached_property
    def head(self) -> Head | None:
        head = self.described["head"]
        return None if head is None else Head.model_validate(head)

    @cached_property
    def embed(self) -> Embed:
        own = {name: self.described["images"][name] for name in Embed.model_fields}
        return Embed.model_validate(own)

    @property
    def exif(self) -> Exif:
        found: Exif = self.described["images"]["exif"]
        return found

    @property
    def store_size(self) -> int | Literal["exact"]:
        found: int | Literal["exact"] = self.described["images"]["store_size"]
        return found

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.head.dim if self.head else self.backbone.features

    @property
    def curvature(self) -> float | None:
        """What the metric takes: c > 0 of the ball, None for cosines."""
        return self.head.curvature if self.head and self.metric == "poincare" else None

    @cached_property
    def digest(self) -> Digest:
        """The hashes of the model's file."""
        return hash_file(self.path)

    @cached_property
    def record(self) -> Record | None:
        """The record of its training, None where there is none.

        Raises TamperedError: it is not as it was written, or is of another model."""
        path = self.folder / RECORD
        record = read_sealed(path)
        if record is None:
            return None
        try:
            said = {Path(name).name: digest["sha256"] for name, digest in record["outputs"].items()}[MODEL]
            key, made_of = record["key"], content_key(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise TamperedError(f"{path} is no record of a training") from error
        if said != self.digest.sha256:
            raise TamperedError(f"{self.path} is not the bytes that {path} says; get both anew")
        if not key == made_of == self.described["key"]:
            raise TamperedError(f"{path} is of another training than {self.path} says; get both anew")
        return record

    def vouched(self, name: str, record: str) -> None:
        """Raise TamperedError where a file of the run's folder is other bytes than a record there says."""
        path = self.folder / name
        said = read_sealed(self.folder / record) if path.is_file() else None
        for output, digest in (said or {}).get("outputs", {}).items():
            if Path(output).name == name and digest.get("sha256") != hash_file(path).sha256:
                raise TamperedError(f"{path} is not the bytes that {record} beside it says; get both anew")

    def unproved(self, threads: int, kernels: str, device: str) -> list[str]:
        """What cannot be proved of the model, or of embeddings in this process, a line each.

        Raises TamperedError: see `record`."""
        if self.record is None:
            return [f"{self.folder / RECORD} is missing, so nothing proves where the model comes from"]
        record = read_sealed(self.folder / EMBED_RECORD) or self.record
        made, theirs = record.get("environment", {}), record.get("packages", {})
        torch = made.get("torch") or {}
        here = {"kernels": kernels, "threads": threads, "device": device}
        there = {"kernels": made.get("kernels"), "threads": torch.get("threads")}
        there["device"] = "cuda" if torch.get("gpu") else "cpu"
        names = tuple(name for name in ROUNDING if name in theirs)
        here, there = here | versions(names), there | {name: theirs[name] for name in names}
        if other := [f"{n} {here[n]} (there {there[n]})" for n in here if here[n] != there[n]]:
            return [f"the run's embeddings may have other last bits, which had other: {', '.join(other)}"]
        return []


def read_model(run: str | Path) -> Stored:
    """The model in a run's folder, or that file; its record is not looked at yet.

    Raises MissingInputError: there is none; DamagedInputError: it does not say what it is."""
    path = Path(run)
    path = path if path.suffix == ".safetensors" else path / MODEL
    if not path.is_file():
        if path.absolute().parent.parent.name == "runs":
            raise MissingInputError(path, f"hier train {path.absolute().parent.name}")
        raise ConfigError(f"{path} is not there; name the folder of a run, such as runs/RUN")
    stored = Stored(path, path.parent, read_description(path))
    try:
        stored.backbone, stored.head, stored.embed  # noqa: B018 — each reads what it needs
        _ = (stored.run, stored.metric, stored.exif, stored.store_size, stored.described["key"])
    except (KeyError, TypeError, ValueError) as error:
        wrong = ValueError("its metadata do not say which network it is of")
        raise DamagedInputError(path, f"hier train {path.parent.name}", wrong) from error
    return stored
