"""What the engines and the ledger cost on Table 1: 138 runs, none of them to be done.

    python benchmarks/engines.py            some 5 minutes on 2 cores
    python benchmarks/engines.py --quick    each command once, half as strict; some 50 seconds

The project's versioned files are copied to a temporary folder with a made-up ledger: small outputs, but
true records, code and dvc.lock. Each command is timed by itself, from its start to its exit. The last
row is of real work: the quick suite `smoke` with four runs from clean, on one core and on two, by
turns; what two cores cannot share is the data's stages before and the table's after.

A Markdown table is printed; a missed bound is exit status 1.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import checkout
from interleaved import Table, Turns

RUN = "cub-hier-vit_small-384-s0"
COMMANDS: tuple[tuple[str, float], ...] = (
    ("hier --help", 0.3),
    (f"hier train {RUN}", 0.5),
    ("hier plan suite=table1", 5),
    ("hier verify", 5),
    ("snakemake --cores all --dry-run", 5),
    ("dvc status", 10),
)
"""The command and the seconds that it may take."""
UNDONE: tuple[tuple[str, float], ...] = (
    ("snakemake --cores all --dry-run", 10),
    ("dvc dag", 20),
)
"""The same where nothing of the suite is done yet."""
LARGE = "hier compose suite=table1"
SMALL = "hier compose suite=smoke methods=[hier] seeds=[0,1,2,3]"
MAKE_LEDGER = "from fakes.ledger import make_ledger; make_ledger()"


def main(arguments: list[str] | None = None) -> None:
    """Time the commands, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="each command once, half as strict")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each (3, quick: 1)")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else 3)
    table = Table(lenient=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        nothing_to_do(table, project(Path(folder) / "table1"), rounds, 2 if options.quick else 1)
        if not options.quick:
            side_by_side(table, project(Path(folder) / "smoke"), min(rounds, 2))
    table.end()


def nothing_to_do(table: Table, folder: Path, rounds: int, ease: float) -> None:
    """Time the commands where nothing and where all of Table 1 is done."""
    call(folder, LARGE)
    commit(folder)
    time_each(table, folder, UNDONE, rounds, ease, "Table 1, undone")
    subprocess.run(
        [sys.executable, "-c", MAKE_LEDGER], cwd=folder, check=True,
        env=os.environ | {"PYTHONPATH": f"{folder / 'src'}{os.pathsep}{checkout.ROOT / 'tests'}"},
    )  # fmt: skip
    commit(folder)
    call(folder, "hier verify")  # hashes every file; later calls know them
    time_each(table, folder, COMMANDS, rounds, ease, "Table 1")


def time_each(
    table: Table,
    folder: Path,
    commands: tuple[tuple[str, float], ...],
    rounds: int,
    ease: float,
    name: str,
) -> None:
    """Time commands in a project, each by itself."""
    for command, bound in commands:
        taken = []
        for _ in range(rounds):
            started = time.perf_counter()
            call(folder, command)
            taken.append(time.perf_counter() - started)
        shown = command.replace(RUN, "RUN")
        table.figure(name, f"`{shown}`, s", statistics.median(taken), at_most=bound * ease)


def side_by_side(table: Table, folder: Path, rounds: int) -> None:
    """Time a suite's real work on one core and on two."""
    call(folder, SMALL)
    commit(folder)
    turns = Turns()
    for _ in range(rounds):
        for cores, name in ((1, "1 core"), (2, "2 cores")):
            for made in ("data", "runs", "results", ".hier", ".snakemake"):
                shutil.rmtree(folder / made, ignore_errors=True)
            command = f"snakemake --cores {cores} --quiet all"
            turns.note(name, partial(call, folder, command))
    table.ratio("smoke, 4 runs", turns, "1 core", "2 cores")


def project(folder: Path) -> Path:
    """The versioned files, in a folder of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=checkout.ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout.ROOT / name, folder / name)
    return folder


def commit(folder: Path) -> None:
    """Make it a repository, as `hier verify` and DVC expect."""
    who = "-c user.name=benchmark -c user.email=benchmark@example.org"
    for command in ("git init --quiet", "git add .", f"git {who} commit --quiet --message x"):
        call(folder, command)


def call(folder: Path, command: str) -> None:
    """Run a command there, with the programs that lie beside this Python and the code that lies there.

    Raises:
        SystemExit: it failed; with what it printed.
    """
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": beside, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        command.split(), cwd=folder, env=environment, capture_output=True, encoding="utf-8"
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{command}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
