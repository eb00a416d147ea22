"""Keep exactly those files of an archive that a manifest lists, each proved by its hash.

A manifest is a file in conf/manifest/ with a line `<sha256>  <path>` for each file, as `sha256sum` writes it.
What is kept is a plain tar in the order of the lines. Its bytes follow from the manifest alone, so that the
archive of a whole repository, made on request, serves as well as a small tar of the same files.
"""

import hashlib
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from hier.config.dataset import Manifest
from hier.data.archive import AGAIN, leads_out, members
from hier.errors import ArchiveError, ChecksumError, ConfigError
from hier.files.atomic import atomic_file
from hier.progress import progress, track

MANIFESTS = Path("conf/manifest")
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class _Part(NamedTuple):
    """What an archive holds at a listed path, and where it lies in the file that it was copied into."""

    sha256: str
    start: int
    size: int  # bytes


Parts = dict[str, list[_Part]]  # by listed path, in the archive's order


def read_manifest(manifest: Manifest) -> dict[str, str]:
    """The hashes that a manifest lists, by path, in its order.

    Raises ConfigError: it is missing, has another hash than is promised, or has a line that is none, that
    repeats a path, or whose path leads out of the folder or can be in no plain tar.
    """
    path = MANIFESTS / manifest.list
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or 'unreadable').lower()}; {_mend(path)}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.sha256:
        raise ConfigError(
            f"{path}: expected sha256 {manifest.sha256}, found {found}; {_mend(path)}, or, only where you "
            "are sure that it is right, correct manifest.sha256 in conf/dataset/ and compose again"
        )
    return _parse(content.decode(errors="backslashreplace"), path)


def keep_listed(archive: Path, listed: Mapping[str, str], name: str, place: str) -> None:
    """Put a tar of the `listed` files (hashes by path) in the place of an archive, whole or not at all.

    The paths are as they are in the archive, or without its single top folder. Regular files alone count, and
    those that are not listed are left out. `name` and `place` are what a wrong hash is told of.

    Raises:
        ArchiveError: a listed file is missing or there twice, or the archive is damaged.
        ChecksumError: a listed file has another hash.
        DiskFullError: no space left.
    """
    with TemporaryFile(dir=archive.parent) as copies:
        parts = _copy(archive, listed, copies, name)
        if lacking := [path for path in listed if path not in parts]:
            lack = f"{len(lacking)} of the {len(listed)} listed files are not in it (such as '{lacking[0]}')"
            raise ArchiveError(f"{archive}: {lack}; {AGAIN}")
        for path, sha256 in listed.items():
            if len(parts[path]) > 1:
                raise ArchiveError(f"{archive}: '{path}' is in it {len(parts[path])} times; {AGAIN}")
            if (found := parts[path][0].sha256) != sha256:
                raise ChecksumError(f"'{path}' in {name}", sha256, found, place)
        _pack(archive, {path: parts[path][0] for path in listed}, copies, name)


def _mend(path: Path) -> str:
    return f"nothing was fetched; bring it back with: git checkout {path}"


def _parse(text: str, path: Path) -> dict[str, str]:
    """The hashes of a manifest's text by path; ConfigError, which names the line, as `read_manifest`."""
    listed: dict[str, str] = {}
    for number, line in enumerate(text.split("\n")[: -1 if text.endswith("\n") else None], start=1):
        match = LINE.fullmatch(line)
        reason = _reason_to_refuse(match[2], listed) if match else "is not <sha256>  <path>"
        if match is None or reason:
            raise ConfigError(
                f"{path}, line {number}: '{line[66:166] if match else line[:100]}' {reason}; mend it"
            )
        listed[match[2]] = match[1]
    return listed


def _reason_to_refuse(name: str, listed: Mapping[str, str]) -> str | None:
    """Why a path cannot be listed; `listed` are those before it."""
    if reason := leads_out(name):
        return reason
    if str(PurePosixPath(name)) != name:  # a second spelling of one path would hide that it is there twice
        return f"is to be written as '{PurePosixPath(name)}'"
    if name in listed:
        return "is listed a second time"
    try:
        tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT)
    except ValueError as error:
        return f"cannot be in a plain tar ({error})"
    return None


def _copy(archive: Path, listed: Mapping[str, str], copies: IO[bytes], name: str) -> Parts:
    """Copy what may be listed into `copies`, and say where each listed file lies there.

    Whether the archive has a single top folder is known at its end alone, and a compressed one is slow to
    read twice: until then a file counts under both of its paths. The way that finds more holds.
    """
    whole, below, tops = Parts(), Parts(), set[str]()
    with progress(f"proving the files of {name}", len(listed)) as shown:
        for path, content in members(archive):
            path = path.removeprefix("./")
            top, _, rest = path.partition("/")
            tops.add(top if rest else "")
            if path not in listed and rest not in listed:
                continue
            part = _Part(hashlib.sha256(content).hexdigest(), copies.tell(), len(content))
            copies.write(content)
            for paths, own in ((whole, path), (below, rest)):
                if own in listed:
                    paths.setdefault(own, []).append(part)
            if shown.done < len(listed):
                shown.update()
    single = len(tops) == 1 and "" not in tops
    return max(whole, below, key=len) if single else whole


def _pack(path: Path, parts: Mapping[str, _Part], copies: IO[bytes], name: str) -> None:
    """Write a tar of `parts`, in their order, in the place of `path`."""
    with (
        atomic_file(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for own in track([*parts], f"packing {name}"):
            member = tarfile.TarInfo(own)
            # What tarfile takes by default, said, since the bytes are promised.
            member.size, member.mode, member.mtime = parts[own].size, 0o644, 0
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            copies.seek(parts[own].start)
            tar.addfile(member, copies)
