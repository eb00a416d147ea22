"""Standard output and error, whatever they lead to: each character is shown, or one like it, and a
reader that has gone, or a full disk, ends a command without a trace."""

import codecs
import io
import os
import sys
import unicodedata
from pathlib import Path
from typing import TextIO

CLOSED = 141  # the exit code, as a shell gives it, of a program whose reader has gone

LIKE = {
    "→": "->", "←": "<-", "↔": "<->", "✓": "ok", "✗": "x", "…": "...", "×": "x", "±": "+-", "·": ".",
    "–": "-", "—": "-", "−": "-", "‖": "||", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf",
    "√": "sqrt", "⟨": "<", "⟩": ">", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "•": "*",
    "λ": "lambda", "Λ": "Lambda", "├": "|", "└": "`", "│": "|", "┃": "|", "─": "-", "━": "-", "╸": "-",
    "╺": "-", "▁": "_", "▂": ".", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "%", "█": "#",
}  # fmt: skip


def fill_closed_streams() -> None:
    """Let what was closed (`hier … >&-`) lead nowhere: else the next file that is opened takes its place,
    and what a library or a child process says goes into that."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):  # Python has None for them
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def show_everything() -> None:
    """Let standard output and error show, of each character that they cannot show, one like it."""
    codecs.register_error("like", _like)
    codecs.register(_plain_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="plain-ascii" if is_ascii else None, errors="like")


def give_up(stream: TextIO | None) -> OSError | None:
    """Write out what a stream holds; where that cannot be, throw it away, and say why."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())  # type: ignore[union-attr]
        error.filename = "standard output"
        return error
    return None


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII by another name: click takes ASCII for a mistake, and writes UTF-8 in its place."""
    if name.replace("_", "-") != "plain-ascii":
        return None
    ascii_ = codecs.lookup("ascii")
    by_steps = ascii_.incrementalencoder, ascii_.incrementaldecoder
    return codecs.CodecInfo(*ascii_, *by_steps, name="plain-ascii")


def _like(error: UnicodeError) -> tuple[str, int]:
    """What stands in for characters that cannot be shown."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_stand_in, text)), error.end


def _stand_in(character: str) -> str:
    if character in LIKE:
        return LIKE[character]
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    if plain := unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode():
        return plain  # é as e, ² as 2
    if unicodedata.combining(character):
        return ""
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        return "+"
    if name.startswith("GREEK SMALL LETTER "):
        return name.removeprefix("GREEK SMALL LETTER ").lower()
    return character.encode("ascii", "backslashreplace").decode()
