"""Entities of an RO-Crate: each entered once, files with their size and hash. What was left out for its
size stands in the metadata all the same, under a name that begins with `#`."""

import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from hier.files.hashing import Hasher, files_in

WFRUN = "https://w3id.org/ro/terms/workflow-run#"
TERMS = dict.fromkeys(
    ("ParameterConnection", "connection", "environment", "resourceUsage", "sourceParameter",
     "targetParameter"), WFRUN
) | {"sha256": "http://schema.org/"}  # fmt: skip
"""What the context of RO-Crate 1.1 lacks, spelled out so that no second context is fetched."""
KINDS = {
    ".smk": "text/x-python", ".py": "text/x-python", ".md": "text/markdown", ".j2": "text/plain",
    ".rst": "text/x-rst", ".webp": "image/webp", ".LICENSE": "text/plain",
    ".yaml": "application/yaml", ".parquet": "application/vnd.apache.parquet",
    ".tex": "application/x-tex", ".lock": "text/plain", ".cff": "application/yaml",
}  # fmt: skip


class Entities:
    """What a crate holds. A second call with the same identifier gives the first one's entity."""

    def __init__(self, hasher: Hasher) -> None:
        self.hasher = hasher
        self.crate = ROCrate(version="1.1", gen_preview=True)
        self.crate.metadata.extra_terms.update({name: at + name for name, at in TERMS.items()})
        self.known: dict[str, Entity] = {}

    @property
    def root(self) -> Entity:
        return self.crate.root_dataset

    def add(self, identifier: str, kind: str, part: bool = False, /, **properties: Any) -> Entity:
        """Enter an entity that is no file here, with those of its properties that are known, and
        perhaps as a part of the whole."""
        if identifier not in self.known:
            known = {name: value for name, value in properties.items() if value not in (None, [])}
            entity = ContextEntity(self.crate, identifier, {"@type": kind} | known)
            self.known[identifier] = self.crate.add(entity)
            if part:
                self.root.append_to("hasPart", entity)
        return self.known[identifier]

    def file(self, source: Path, name: str | None = None, /, **properties: Any) -> Entity:
        """Enter a file that is copied, by default under its own path."""
        name = name or source.as_posix()
        if name not in self.known:
            properties = self.described(source) | {"name": source.name} | properties
            self.known[name] = self.crate.add_file(source, name, properties=properties)
        return self.known[name]

    def described(self, source: Path) -> dict[str, Any]:
        """A file's size, hash and kind."""
        kind = KINDS.get(source.suffix) or mimetypes.guess_type(source.name)[0] or "text/plain"
        of = self.hasher.file(source)
        return {"contentSize": str(of.size), "sha256": of.sha256, "encodingFormat": kind}

    def folder(self, path: str) -> Entity:
        """Enter a folder that is copied file by file."""
        members = [self.file(file, name=file.as_posix()) for file in files_in(Path(path))]
        return self.add(f"{path}/", "Dataset", True, name=path, hasPart=members)

    def absent(self, name: str, sha256: str | None, size: int | None, /, **more: Any) -> Entity:
        """Enter a file that is not in the crate."""
        return self.add(
            f"#{name}", "File", True, name=name, sha256=sha256,
            contentSize=None if size is None else str(size),
            encodingFormat=mimetypes.guess_type(name)[0] or "application/octet-stream",
            description="Not in this crate; sha256 says which bytes are meant.", **more,
        )  # fmt: skip

    def example(self, entity: Entity, parameters: Iterable[Entity]) -> Entity:
        """Note of which formal parameters something is a value."""
        before = {of["@id"] for of in entity.properties().get("exampleOfWork", [])}
        every = sorted(before | {parameter.id for parameter in parameters})
        entity["exampleOfWork"] = [{"@id": identifier} for identifier in every]
        return entity

    def write(self, folder: Path) -> None:
        """Write the crate; RO-Crate 1.1 wants a single value to stand alone, not in a list."""
        for entity in self.crate.get_entities():
            for name, value in list(entity.properties().items()):
                if isinstance(value, list) and len(value) == 1 and name[0] != "@":
                    entity[name] = value[0]
        self.crate.write(folder)
