"""`make same-bytes`: one HIER run, from its archive to its views, natively and on emulated processors.

A run of three epochs (twelve steps, the seventh of them killed) is made by this processor and under QEMU's
user emulation by processors of two vendors. With portable kernels every artifact must be the same bytes.
That the comparison can fail is shown with native kernels: their model must differ between two of the three.

    python -m fakes.same_bytes FOLDER        (FOLDER is made anew, and removed when all went well)
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

EMULATOR = "qemu-x86_64"
HERE = "this processor"
SETTINGS = ["suite=smoke", "methods=[hier]", "schedule.epochs=3"]
KILLED_IN = 7  # the forward pass, counted from 1, of twelve
PARTS = ("data", "killed", "whole")
AFTER_MODEL = ("embed", "evaluate", "views")
# Kernels and processor of each project; those of a kind of kernels are compared.
MADE = [
    ("portable", HERE),
    ("native", HERE),
    ("portable", "Haswell"),
    ("portable", "EPYC"),
    ("native", "Haswell"),
    ("native", "EPYC"),
]


def main(folder: Path) -> None:
    """Make the projects, two at a time, and compare them.

    Raises:
        SystemExit: a project could not be made, or the hashes are not as they should be.
    """
    started = time.monotonic()
    if shutil.which(EMULATOR) is None:
        raise SystemExit(f"{EMULATOR} is missing; install it: apt-get install qemu-user (Debian)")
    shutil.rmtree(folder, ignore_errors=True)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda one: make(folder, *one), MADE))
    found = {one: dict(hashes_of(project)) for one, project in zip(MADE, made, strict=True)}
    print(table(found))
    wrong = [*unlike(found, "portable")]
    if wrong:
        raise SystemExit(f"same-bytes: portable kernels gave other bytes: {', '.join(wrong)}")
    if not any(path.endswith("model.safetensors") for path in unlike(found, "native")):
        raise SystemExit("same-bytes: native kernels gave the same model, so the comparison proves nothing")
    shutil.rmtree(folder)
    print(f"same-bytes: all is well [{time.monotonic() - started:.0f} s]", flush=True)


def make(folder: Path, kernels: str, processor: str) -> Path:
    """A project with its one run."""
    from fakes.smoke import new_project

    started, project = time.monotonic(), folder / f"{kernels}-{processor.replace(' ', '-')}"
    (folder / "weights").mkdir(parents=True, exist_ok=True)  # it needs none
    new_project(project, folder / "weights")
    environment = {
        **os.environ, "PYTHONPATH": f"{project / 'src'}{os.pathsep}{project / 'tests'}",
        "HIER_CHECKPOINT_MINUTES": "0", "DVC_NO_ANALYTICS": "1",
    }  # fmt: skip
    compose = [sys.executable, "-m", "hier", "compose", *SETTINGS, f"runtime.kernels={kernels}"]
    emulated = [] if processor == HERE else [EMULATOR, "-cpu", processor]
    chain = [*emulated, sys.executable, "-m", "fakes.same_bytes"]
    steps = [
        (compose, 0),
        ([*chain, "data"], 0),
        ([*chain, "killed"], -signal.SIGKILL),
        ([*chain, "whole"], 0),
    ]
    for command, ends in steps:
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != ends:
            said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{said}")
    print(f"made with {kernels} kernels by {processor} [{time.monotonic() - started:.0f} s]", flush=True)
    return project


def chain(part: str) -> None:
    """Stages of params.yaml in this one process: of the datasets alone (`data`, which have portable kernels
    whatever a run has), of the runs until it is `killed` in the middle of a step, or from there on (`whole`).

    With native kernels it ends with the model, which is all that is looked at (of NumPy's own kernels QEMU
    7.2 cannot run all).
    """
    from hier.config.settings import Settings
    from hier.jobs import jobs
    from hier.ledger.run_job import run_stage

    for job in jobs(Settings.read()):
        if job.stage.scope != ("dataset" if part == "data" else "run"):
            continue
        kernels = job.settings.runs[job.key]["runtime"]["kernels"] if part != "data" else "portable"
        if part == "killed":
            kill_in_step(KILLED_IN, kernels)
        if job.stage.name not in AFTER_MODEL or kernels == "portable":
            run_stage(job.stage.name, job.key)


def kill_in_step(number: int, kernels: Any) -> None:
    """Let this process be killed within the forward pass of one of its steps, counted from 1."""
    from hier.kernels import choose_kernels

    choose_kernels(kernels)  # as the stage does, before torch is loaded here
    from hier.training.objective import Objective

    steps, forward = count(1), Objective.forward

    def killed(*of: Any) -> Any:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(*of)

    Objective.forward = killed  # type: ignore[method-assign]


def hashes_of(project: Path) -> Iterator[tuple[str, str]]:
    """The artifacts of a project's dataset and run, in the order of the pipeline, with their SHA-256."""
    from fakes.smoke import sha256
    from hier.pipeline import STAGES

    for stage in STAGES.values():
        for output in stage.outputs if stage.scope != "suite" else ():
            for path in sorted(project.glob(output.format(dataset="*", run="*"))):
                for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                    yield str(file.relative_to(project)), sha256(file)


def unlike(found: dict[tuple[str, str], dict[str, str]], kernels: str) -> Iterator[str]:
    """The artifacts that are not everywhere the same bytes with `kernels`."""
    sides = [hashes for (with_, _), hashes in found.items() if with_ == kernels]
    for path in sides[0]:
        if len({side.get(path) for side in sides}) > 1:
            yield path


def table(found: dict[tuple[str, str], dict[str, str]]) -> str:
    """The first digits of every hash, in Markdown."""
    heads = [f"{kernels}, {processor}" for kernels, processor in found]
    lines = [f"| artifact | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for path in next(iter(found.values())):
        lines.append(f"| {path} | {' | '.join(side.get(path, '–')[:12] for side in found.values())} |")
    return "\n".join(lines)


if __name__ == "__main__":
    (given,) = sys.argv[1:]
    if given in PARTS:
        chain(given)
    else:
        main(Path(given).resolve())
