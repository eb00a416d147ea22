"""`make smoke`: the four layouts × each method × the four backbones through every stage, in minutes.

Archives and weight files are made in the genuine formats, one dataset is served over HTTP and the
others lie in a folder. DVC makes a suite of one run, whole, from its archive to its report, and
Snakemake accepts it. Beside that, in a project of its own, the whole suite: DVC draws its graph,
Snakemake makes three runs, three processes make the rest (starting one for each of 650
jobs would take longer than the jobs), and Snakemake must find nothing left to do. (Entering all 650
stages into dvc.lock takes DVC minutes; the engines' tests do that on a small suite.)

    python -m fakes.smoke FOLDER        (FOLDER is made, and removed again when all went well)
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fakes.archives import make_cars, make_cub, make_inshop, make_sop
from fakes.server import serve
from fakes.weights import make_weights

ROOT = Path(__file__).parents[2]
MAKE = {"cub": make_cub, "cars": make_cars, "sop": make_sop, "inshop": make_inshop}
BACKBONES = ("vit_small", "deit_small", "dino_vits16", "resnet50")
SLICES = [f"{d}-hier-{b}-16-s0" for d, b in zip(MAKE, BACKBONES, strict=True)]
CLASSES = 8
STAGES = 2 * 4 + 4 * 160 + 2  # of datasets, of runs, of the suite

Run = Callable[..., str]


def main(folder: Path) -> None:
    """Make the project, run it, check it, remove it.

    Raises:
        SystemExit: a command failed or an engine finds something left to do.
    """
    started = time.monotonic()
    mirror, served, weights = folder / "mirror", folder / "served", folder / "weights"
    overrides = [*data_overrides(mirror, served), *weight_overrides(weights)]
    with serve(served) as server, ThreadPoolExecutor() as beside:
        overrides = [text.replace("SERVED", server.url) for text in overrides]
        environment = {**os.environ, "HIER_MIRROR": str(mirror), "DVC_NO_ANALYTICS": "1"}

        def run_in(name: str) -> Run:
            project = new_project(folder / name, weights)
            return lambda *command: call(command, project, environment, started)

        by_dvc = beside.submit(make_one_run_with_dvc, run_in("one"), overrides)
        make_all_runs(run_in("all"), overrides)
        by_dvc.result()
    remove(folder)
    print(f"smoke: all is well [{time.monotonic() - started:.0f} s]", flush=True)


def make_one_run_with_dvc(run: Run, overrides: list[str]) -> None:
    """A suite of one run from archive to report, with DVC; both engines must find it current."""
    dataset, method, backbone = SLICES[0].split("-")[:3]
    its_own = [text for text in overrides if f".{dataset}-*" in text or f"-{backbone}-" in text]
    chosen = [f"dataset={dataset}", f"methods=[{method}]", f"backbone={backbone}"]
    run("hier", "compose", "suite=smoke-table1", *chosen, *its_own)
    run("dvc", "repro", "--quiet")
    if json.loads(run("dvc", "status", "--json")) != {}:
        raise SystemExit("dvc status finds something left to do in what DVC made")
    expect_nothing_left(run)


def make_all_runs(run: Run, overrides: list[str]) -> None:
    """The whole suite: DVC sees every stage, Snakemake makes three runs, fakes.every_job the others."""
    run("hier", "compose", "suite=smoke-table1", *overrides)
    drawn = set(re.findall('"[^"]+"', run("dvc", "dag", "--dot")))
    if len(drawn) != STAGES:
        raise SystemExit(f"dvc dag draws {len(drawn)} stages, not {STAGES}")
    targets = [f"runs/{name}/metrics.json" for name in SLICES[1:]]
    run("snakemake", *targets, "--cores", "2", "--quiet", "all")
    run(sys.executable, "-m", "fakes.every_job", "3")
    expect_nothing_left(run)


def expect_nothing_left(run: Run) -> None:
    """Snakemake's dry run must plan no job."""
    left = run("snakemake", "--cores", "2", "--dry-run")
    if "Nothing to be done" not in left:
        raise SystemExit(f"snakemake finds something left to do:\n{left}")


def new_project(folder: Path, weights: Path) -> Path:
    """A copy of the repository's versioned files, with the weights and a git and DVC of its own."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    results = ("runs/", "results/", "dvc.lock")  # of the suite demo
    for name in names.splitlines():
        if (ROOT / name).is_file() and not name.startswith(results):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "weights").mkdir(exist_ok=True)
    for path in weights.iterdir():
        (folder / "weights" / path.name).hardlink_to(path)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    # 160 models of 90 MB lie in the folder once, not a second time in the cache.
    cache = ["dvc", "config", "--local", "cache.type", "hardlink"]
    subprocess.run(cache, cwd=folder, check=True)
    return folder


def data_overrides(mirror: Path, served: Path) -> list[str]:
    """Archives as overrides of the datasets: the counts and addresses of what was made."""
    found = []
    for name, make in MAKE.items():
        folder = served if name == "sop" else mirror
        before = set(folder.glob("*"))
        folder.mkdir(parents=True, exist_ok=True)
        counts = make(folder, classes=CLASSES)
        files = []
        for path in sorted(set(folder.glob("*")) - before):
            url = f"SERVED/{path.name}" if name == "sop" else None
            files.append({"name": path.name, "sha256": sha256(path), "url": url})
        found.append(f"runs.{name}-*.dataset.sources={hydra([{'files': files}])}")
        found.append(f"runs.{name}-*.dataset.counts={hydra(counts)}")
    return found


def weight_overrides(folder: Path) -> list[str]:
    """Weight files in their genuine formats, and their hashes as overrides."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name in BACKBONES:
        path, digest = make_weights(folder, name)
        weights = {"file": path.name, "sha256": digest, "match": "name"}
        found.append(f"runs.*-{name}-*.backbone.weights={hydra(weights)}")
    return found


def remove(folder: Path) -> None:
    """Remove a folder, its runs beside each other: 160 models of 90 MB take one thread a while."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(shutil.rmtree, folder.glob("*/runs/*")))
    shutil.rmtree(folder, ignore_errors=True)


def call(command: tuple[str, ...], project: Path, environment: dict[str, str], started: float) -> str:
    """Run a command in the project; what it printed on standard output."""
    print(f"[{time.monotonic() - started:4.0f} s] {' '.join(command)[:110]}", flush=True)
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout + (done.stderr if command[0] == "snakemake" else "")


def hydra(value: object) -> str:
    """A value in Hydra's grammar: keys bare, strings quoted."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{hydra(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(hydra, value)) + "]"
    if isinstance(value, str):
        return "'" + value + "'"
    return "null" if value is None else str(value)


def sha256(path: Path) -> str:
    from hashlib import file_digest

    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    remove(target)
    main(target)
