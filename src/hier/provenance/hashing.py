"""SHA-256 of what a stage reads and writes: files, and folders by their contents."""

from hashlib import file_digest, sha256
from pathlib import Path

IGNORED = {"__pycache__", ".snakemake_timestamp"}


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of a folder's sorted lines `<sha256>  <relative path>`."""
    if not path.is_dir():
        return hash_file(path)
    lines = [
        f"{hash_file(file)}  {file.relative_to(path).as_posix()}\n"
        for file in sorted(path.rglob("*"))
        if file.is_file() and not IGNORED.intersection(file.parts)
    ]
    return sha256("".join(lines).encode()).hexdigest()
