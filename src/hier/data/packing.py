"""What an archive is that is sound and yet cannot be unpacked here, and what to do about it."""

import zipfile
from pathlib import Path

from hier.errors import ArchiveError

# How files begin that are neither zip nor a tar that Python reads.
BEGINNINGS = {
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"\x04\x22\x4d\x18": "packed with lz4",
    b"LZIP": "packed with lzip",
    b"\x1f\x9d": "packed with compress",
    b"MSCF": "a cabinet",
}
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")
METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 93: "zstd", 95: "xz", 98: "PPMd"}  # of zip
KNOWN = {
    getattr(zipfile, name)
    for name in ("ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA", "ZIP_ZSTANDARD")
    if hasattr(zipfile, name)  # ZIP_ZSTANDARD: Python 3.14
}
ENCRYPTED, AES = 0x1, 99  # the flag of an encrypted member, and a method that says so too


def refuse_other_formats(archive: Path) -> None:
    """Refuse a file that is no zip or tar, by how it begins.

    Raises:
        ArchiveError: it is another kind of archive; says which, and how to pack it again. Or it is a
            web page.
    """
    refuse_pages(archive)
    with archive.open("rb") as stream:
        head = stream.read(8)
    for beginning, kind in BEGINNINGS.items():
        if head.startswith(beginning):
            raise _to_be_packed_again(archive, f"{kind}, whatever its name says")


def refuse_pages(archive: Path) -> None:
    """Refuse a web page, which a site sends in place of a file where it asks to confirm or to log in.

    Raises:
        ArchiveError: it is one.
    """
    with archive.open("rb") as stream:
        head = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(PAGES):
        raise ArchiveError(
            f"{archive}: it is a web page, not an archive: its site asks to confirm or to log in, or says "
            "that there is no such file; get it by a browser, see that it is the archive itself, and put "
            "it in that place"
        )


def refuse_closed_members(archive: Path, opened: zipfile.ZipFile) -> None:
    """Refuse a zip of which a member is encrypted or packed by a method that Python does not know.

    Raises:
        ArchiveError: names the first such member, and says how to pack the archive again.
    """
    for entry in opened.infolist():
        if entry.flag_bits & ENCRYPTED or entry.compress_type == AES:
            reason = "is encrypted; its authors give out the password"
        elif entry.compress_type not in KNOWN:
            method = METHODS.get(entry.compress_type, f"method {entry.compress_type}")
            reason = f"is packed with {method}, which Python cannot unpack"
        else:
            continue
        raise _to_be_packed_again(archive, f"member '{entry.filename}' {reason}")


def _to_be_packed_again(archive: Path, reason: str) -> ArchiveError:
    """Nothing is wrong with it, so that downloading it again would not help."""
    name = archive.name
    return ArchiveError(
        f"{archive}: {reason}; unpack it and pack it again as a plain zip of that name: "
        f"7z x -ounpacked {name} && (cd unpacked && zip -qr ../plain.zip .) && mv plain.zip {name}"
    )
