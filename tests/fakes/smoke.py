"""`make smoke`: the four layouts × each method × the four backbones through every stage, in minutes.

Archives and weight files are made in the genuine formats, one dataset is served over HTTP and the
others lie in a folder. DVC runs one run from its archive to its metrics and Snakemake three;
`hier run` runs the rest in two processes (starting one for each of 500 jobs would take longer than
the jobs). Then Snakemake must find nothing left to do anywhere, and DVC in what it made. (Entering
all 490 stages into dvc.lock takes DVC minutes; the engines' tests do that on a small suite.)

    python -m fakes.smoke FOLDER        (FOLDER is made, and removed again when all went well)
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fakes.archives import make_cars, make_cub, make_inshop, make_sop
from fakes.server import serve
from fakes.weights import make_weights

ROOT = Path(__file__).parents[2]
MAKE = {"cub": make_cub, "cars": make_cars, "sop": make_sop, "inshop": make_inshop}
BACKBONES = ("vit_small", "deit_small", "dino_vits16", "resnet50")
CLASSES = 8


def main(folder: Path) -> None:
    """Make the project, run it, check it.

    Raises:
        SystemExit: a command failed or an engine finds something left to do.
    """
    started = time.monotonic()
    mirror, served = folder / "mirror", folder / "served"
    project = new_project(folder / "project")
    overrides = [*data_overrides(mirror, served), *weight_overrides(project / "weights")]
    with serve(served) as server:
        overrides = [text.replace("SERVED", server.url) for text in overrides]
        environment = {**os.environ, "HIER_MIRROR": str(mirror), "DVC_NO_ANALYTICS": "1"}

        def run(*command: str) -> str:
            return call(command, project, environment, started)

        run("hier", "compose", "suite=smoke-table1", *overrides)
        slices = [f"{d}-hier-{b}-16-s0" for d, b in zip(MAKE, BACKBONES, strict=True)]
        stages = [f"{stage}@cub" for stage in ("download", "prepare")]
        stages += [f"{stage}@{slices[0]}" for stage in ("train", "embed", "evaluate")]
        run("dvc", "repro", "--quiet", "--single-item", *stages)
        targets = [f"runs/{name}/metrics.json" for name in slices[1:]]
        run("snakemake", *targets, "--cores", "2", "--quiet", "all")
        run("hier", "run", "--jobs", "2")
        left = run("snakemake", "--cores", "2", "--dry-run")
        if "Nothing to be done" not in left:
            raise SystemExit(f"snakemake finds something left to do:\n{left}")
        if json.loads(run("dvc", "status", "--json", f"evaluate@{slices[0]}")) != {}:
            raise SystemExit("dvc status finds something left to do in what DVC made")
    print(f"smoke: all is well [{time.monotonic() - started:.0f} s]", flush=True)


def new_project(folder: Path) -> Path:
    """A copy of the repository's versioned files with a git and DVC of its own."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
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


def call(
    command: tuple[str, ...], project: Path, environment: dict[str, str], started: float
) -> str:
    """Run a command in the project; what it printed on standard output."""
    print(f"[{time.monotonic() - started:4.0f} s] {' '.join(command)[:110]}", flush=True)
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
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
    shutil.rmtree(target, ignore_errors=True)
    main(target)
    shutil.rmtree(target)
