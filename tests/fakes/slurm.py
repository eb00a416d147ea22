"""`make slurm`: the suite smoke on a cluster of two nodes whose jobs are stopped in every way.

The profile runs it on a Slurm of this machine's own (see fakes.slurm_cluster). Meanwhile one training is held
up until the time limit has struck twice, one is cancelled, one loses its node's daemon and one its node, and
one has finished but is reported as failed. Then one command makes the rest. Every artifact must be the same
bytes as those of a project in which nothing happened.

    python -m fakes.slurm FOLDER        (FOLDER is made anew, and removed when all went well)
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psutil

from fakes.slurm_cluster import Cluster, NoClusterError, why_not
from fakes.smoke import call, new_project

METHODS = ("untrained", "pa", "ms", "hyp", "hier")
UNTRAINED, PA, MS, HYP, HIER = (f"smoke-{method}-test_resnet-16-s0" for method in METHODS)
RUNS = (HIER, PA, MS, HYP, UNTRAINED)
# Long enough that a training is still at work when it is stopped.
SETTINGS = ["suite=smoke", "schedule.epochs=30"]
PROFILE = ["snakemake", "--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2"]
NOT_COMPARED = (".record.json", ".snakemake_timestamp")
# In place of `hier`: a training that ends well, and whose step is killed in its teardown, once.
TORN_DOWN = """#!/bin/sh
{hier} "$@" || exit
test "$1 $2" != "train {run}" && exit
test -e {mark} && exit
touch {mark}
kill -9 $$
"""


def main(folder: Path) -> None:
    """Do it; SystemExit says what is not as it should be."""
    started = time.monotonic()
    if reason := why_not():
        print(f"slurm: skipped: {reason}")
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "weights").mkdir(parents=True)  # it needs none
    local, there = (new_project(folder / name, folder / "weights") for name in ("local", "there"))
    for project in (local, there):
        call(("hier", "compose", *SETTINGS), project, dict(os.environ), started)
    with Cluster(folder / "cluster") as cluster, ThreadPoolExecutor() as pool:
        try:
            undisturbed = ("snakemake", "--cores", "1", "--quiet", "all")
            reference = pool.submit(call, undisturbed, local, cluster.beside, started)
            train_disturbed(cluster, pool, there, started)
            call(tuple(PROFILE), there, cluster.environment, started)
            if "Nothing to be done" not in call((*PROFILE, "--dry-run"), there, cluster.environment, started):
                raise SystemExit("slurm: snakemake finds something left to do")
            reference.result()
        except BaseException:
            cluster.end()  # else the pool would wait for what is still at work
            raise
    compare(artifacts(local), artifacts(there))
    shutil.rmtree(folder)
    print(f"slurm: all is well [{time.monotonic() - started:.0f} s]", flush=True)


def train_disturbed(cluster: Cluster, pool: ThreadPoolExecutor, project: Path, started: float) -> None:
    """Train each run while its job is stopped; Snakemake must go on by itself."""
    mark = cluster.folder / "torn-down"
    torn = TORN_DOWN.format(hier=shutil.which("hier"), run=UNTRAINED, mark=mark)
    cluster.write_command("hier", torn)
    models = [f"runs/{run}/model.safetensors" for run in RUNS]
    command = (*PROFILE, "--", *models)
    environment = cluster.environment | {"HIER_CHECKPOINT_MINUTES": "0"}
    disturbances: list[Callable[[Cluster, Path], None]] = [
        meet_limit_twice,
        cancel,
        restart_slurmd,
        lose_node,
    ]
    coordinator = pool.submit(call, command, project, environment, started)
    disturbing = [pool.submit(disturb, cluster, project) for disturb in disturbances]
    for done in wait([coordinator, *disturbing], return_when=FIRST_EXCEPTION).done:
        done.result()
    cluster.write_command("hier", f'#!/bin/sh\nexec {shutil.which("hier")} "$@"\n')
    expect_ends(cluster, project)


def meet_limit_twice(cluster: Cluster, project: Path) -> None:
    """Give a training that makes steps the shortest limit that Slurm has, and hold it up until that strikes;
    and once more where it goes on."""
    for _ in range(2):
        at_work(cluster, project, HIER).suspend()
        number, _ = job_of(cluster, HIER)
        cluster.say("scontrol", "update", f"JobId={number}", "TimeLimit=1")
        ended = (number, "TIMEOUT")
        cluster.wait_for("the time limit", lambda ended=ended: ended in states(cluster, HIER), 300)


def cancel(cluster: Cluster, project: Path) -> None:
    at_work(cluster, project, PA)
    cluster.say("scancel", job_of(cluster, PA)[0])


def restart_slurmd(cluster: Cluster, project: Path) -> None:
    """Kill the daemon of a node, whose job works on, and start it again."""
    at_work(cluster, project, MS)
    node = job_of(cluster, MS)[1]
    cluster.kill_slurmd(node)
    time.sleep(3)
    cluster.start_node(node)


def lose_node(cluster: Cluster, project: Path) -> None:
    """Kill a node with all that works on it, and start it again once Slurm has given it up."""
    at_work(cluster, project, HYP)
    number, node = job_of(cluster, HYP)
    cluster.lose_node(node)
    cluster.wait_for("the lost job to be queued anew", lambda: (number, "PENDING") in states(cluster, HYP))
    cluster.start_node(node)


def expect_ends(cluster: Cluster, project: Path) -> None:
    """How the jobs of each run ended, and what their logs say."""
    cluster.wait_for("the last job's end", lambda: all(s != "COMPLETING" for _, s, *_ in cluster.jobs()))
    expected = {
        HIER: {"TIMEOUT": 2, "COMPLETED": 1},
        PA: {"CANCELLED": 1, "COMPLETED": 1},
        MS: {"COMPLETED": 1},
        HYP: {"COMPLETED": 1},
        UNTRAINED: {"FAILED": 1, "COMPLETED": 1},
    }
    for run, ends in expected.items():
        if (found := Counter(state for _, state in states(cluster, run))) != ends:
            raise SystemExit(f"slurm: the jobs of {run} ended as {dict(found)}, not {ends}")
    for run, times in ((HIER, 2), (PA, 1), (HYP, 1)):
        if (found := logs(project, run).count(f"{run}: going on after")) != times:
            raise SystemExit(f"slurm: {run} went on from a checkpoint {found} times, not {times}")
    if logs(project, HYP).count("Building DAG") < 3:  # two of each attempt
        raise SystemExit(f"slurm: the log of the job that lost its node has not the first attempt of {HYP}")
    if "current, nothing to do" not in logs(project, UNTRAINED):
        raise SystemExit("slurm: what had finished was made anew")


def logs(project: Path, run: str) -> str:
    """What the jobs of a run have written, those of attempts that failed included."""
    files = sorted((project / "logs/slurm").glob(f"group_{run}_*/*.log"))
    return "".join(file.read_text(encoding="utf-8") for file in files)


def at_work(cluster: Cluster, project: Path, run: str) -> psutil.Process:
    """The process that trains a run, once it has made a step."""
    cluster.wait_for(f"{run} to train", lambda: bool(training(project, run)), 900)
    return training(project, run)[0]


def training(project: Path, run: str) -> list[psutil.Process]:
    """The process that trains a run and has made a step, if there is one."""
    found = []
    for process in psutil.process_iter(["cmdline", "create_time"]):
        words = [Path(word).name for word in process.info["cmdline"] or ()]
        if words[1:4] == ["hier", "train", run] and words[0].startswith("python"):
            with suppress(psutil.Error):
                written = [path.stat().st_mtime for path in (project / ".checkpoints" / run).rglob("*.pt")]
                if process.cwd() == str(project) and max(written, default=0) > process.info["create_time"]:
                    found.append(process)
    return found


def job_of(cluster: Cluster, run: str) -> tuple[str, str]:
    """Number and node of the job that works on a run."""
    return next((n, node) for n, state, of, node in cluster.jobs() if state == "RUNNING" and names(of, run))


def states(cluster: Cluster, run: str) -> list[tuple[str, str]]:
    """Number and state of each job of a run."""
    return [(number, state) for number, state, of, _ in cluster.jobs() if names(of, run)]


def names(comment: str, run: str) -> bool:
    return comment == f"rule_{run}_train"


def artifacts(project: Path) -> dict[str, str]:
    """The hash of everything that was made, records apart: they say when and where."""
    paths = [path for folder in ("data", "runs", "results") for path in (project / folder).rglob("*")]
    return {
        str(path.relative_to(project)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if path.is_file() and not path.name.endswith(NOT_COMPARED)
    }


def compare(local: dict[str, str], there: dict[str, str]) -> None:
    """Refuse whatever is not the same in both."""
    if wrong := sorted(path for path in local | there if local.get(path) != there.get(path)):
        raise SystemExit(f"slurm: {len(wrong)} of {len(local)} artifacts differ: {', '.join(wrong[:5])}")
    print(f"slurm: {len(local)} of {len(local)} artifacts are the same bytes", flush=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).resolve())
    except NoClusterError as error:
        print(f"slurm: skipped: no cluster can be started here: {error}")
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"slurm: {error}: {error.stderr}") from error
