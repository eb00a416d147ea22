"""What is printed, where not every character can be shown, or nobody reads, or nothing can be written."""

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
import unicodedata
from ast import literal_eval
from pathlib import Path

import pytest

from test_cli import COMMAND, COMMANDS, ENVIRONMENT, HIER, PA, call, workspace

HELP = [[command, "--help"] for command in COMMANDS]
LINES = [
    ["compose", "suite=smoke", "methods=[pa,hier]"],
    ["--help"],
    *HELP,
    ["plan"],
    ["plan", "suite=demo", "regularizer.weight=λ"],
    ["watch"],
    ["verify"],
    ["verify", "--json"],
    ["trace", HIER],
    ["trace", "data/smoke/index.parquet"],
    ["trace", f"{HIER}:R@1", "--dot"],
    ["trace", "results/smoke/table.csv", "--full"],
    ["trace", "…é漢\udcff"],
    ["diff", HIER, PA],
    ["crate", "--out", "crate"],
    ["adopt"],
    ["status"],
    ["recover"],
    ["download", "smoke"],
    ["embed", HIER],
    ["train", "λ"],
]
# All in one process, since starting one takes longer than most of them.
DRIVER = """
import json, sys
from hier.cli import main
codes = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["hier", *line]
    print("##", ascii(line), flush=True)
    try:
        main()
        codes.append(0)
    except SystemExit as stop:
        codes.append(stop.code)
    except Exception as error:
        codes.append(ascii(f"{type(error).__name__}: {error}"))
print("## codes", codes, flush=True)
"""
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = workspace(tmp_path_factory.mktemp("terminal") / "made")
    for line in (LINES[0], ["download", "smoke"], ["prepare", "smoke"]):
        assert call(folder, *line).returncode == 0
    return folder


def all_lines(folder, **environment):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(LINES)],
        cwd=folder, env=ENVIRONMENT | {"PYTHONPATH": str(folder / "src")} | environment,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    codes = literal_eval(done.stdout.splitlines()[-1].decode().removeprefix("## codes "))
    ended = zip(LINES, codes, strict=True)
    assert [(line, code) for line, code in ended if isinstance(code, str)] == []
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr.decode(errors="replace")
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def in_utf_8(made):
    out, said = all_lines(made, PYTHONIOENCODING="utf-8")
    return out.decode("utf-8"), said.decode("utf-8")


@pytest.mark.parametrize(
    ("encoding", "environment"),
    [
        ("ascii", {"PYTHONIOENCODING": "ascii"}),
        ("latin-1", {"PYTHONIOENCODING": "latin-1"}),
        ("cp1252", {"PYTHONIOENCODING": "cp1252"}),
        ("cp437", {"PYTHONIOENCODING": "cp437"}),
        ("ascii", C_LOCALE),
    ],
)
def test_every_command_in_every_encoding(made, in_utf_8, encoding, environment):
    """Every command, in one process: some 4 s each."""
    out, said = (stream.decode(encoding) for stream in all_lines(made, **environment))
    assert out.splitlines()[-1] == in_utf_8[0].splitlines()[-1]  # the exit codes
    assert len(said.splitlines()) == len(in_utf_8[1].splitlines())
    if encoding == "ascii":
        assert "Unpack and check DATASET -> data/DATASET/index.parquet" in out
        assert re.search("[+`]-- ok data/smoke/archive", out)
        assert r"'...e\u6f22\xff'" in said
        assert "unknown run 'lambda'" in said


def test_utf_8_is_shown_as_it_is(in_utf_8):
    out, said = in_utf_8
    assert "Unpack and check DATASET → data/DATASET/index.parquet" in out
    assert "── ✓ data/smoke/archive" in out
    assert r"'…é漢\xff'" in said  # the last was a byte that is no UTF-8


def test_whatever_is_printed_has_a_stand_in_in_ascii():
    from hier.terminal import LIKE, _stand_in

    source = "".join(p.read_text("utf-8") for p in Path("src/hier").rglob("*.py"))
    for character in {*source, *LIKE, *"éüñ²₀ΩμΣ█▏😀漢\u0304\udc80"}:
        plain = _stand_in(character)
        assert plain.isascii()
        assert plain or unicodedata.combining(character)


@pytest.mark.parametrize(
    ("line", "buffered"), [(["--help"], ""), (["trace", HIER], ""), (["trace", HIER], "1")]
)
def test_a_reader_that_has_gone_ends_it_without_a_word(made, line, buffered):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, *line],
        cwd=made, env=ENVIRONMENT | {"PYTHONUNBUFFERED": buffered}, stdout=write,
        stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_stage_works_where_a_stream_is_closed(made, closed):
    line = shlex.join([*COMMAND, "prepare", "smoke", "--force"])
    fetched = subprocess.run([*COMMAND, "download", "smoke"], cwd=made, env=ENVIRONMENT, check=False)
    assert fetched.returncode == 0
    done = subprocess.run(
        ["sh", "-c", f"{line} {closed}"], cwd=made, env=ENVIRONMENT, timeout=60, check=False
    )
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("line", [["--help"], ["trace", HIER, "--json"], ["status"]])
def test_a_full_disk_is_one_line(made, line):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *line],
            cwd=made, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith(b"error: ")
        assert done.stderr.endswith(b": No space left on device\n")
        assert done.stderr.count(b"\n") == 1
        nowhere = subprocess.run(
            [*COMMAND, "train", "nope"], cwd=made, env=ENVIRONMENT, stdout=full, stderr=full,
            timeout=60, check=False,
        )  # fmt: skip
        assert nowhere.returncode == 2


@pytest.mark.parametrize("line", [["plan"], ["trace", HIER], ["--help"]])
def test_a_narrow_terminal_without_a_name(made, line):
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    environment = {k: v for k, v in ENVIRONMENT.items() if k not in ("TERM", "COLUMNS")}
    process = subprocess.Popen(
        [*COMMAND, *line], cwd=made, stdin=side, stdout=side, stderr=side,
        env=environment | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    os.close(side)
    shown = b""
    try:
        while block := os.read(main, 1 << 16):
            shown += block
    except OSError:  # so Linux says that the other side is closed
        pass
    os.close(main)
    assert process.wait(60) == 0
    assert b"Traceback" not in shown
    assert shown.isascii()


def test_no_file_is_read_or_written_in_the_locales_encoding(made):
    """Python itself says where an encoding is left to the locale; ruff (PLW1514) sees some of it."""
    _, said = all_lines(made, PYTHONWARNDEFAULTENCODING="1")
    ours = [line for line in said.decode().splitlines() if "EncodingWarning" in line]
    assert [line for line in ours if "/hier/" in line] == []
