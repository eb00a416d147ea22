"""A small pipeline in a temporary folder: shop → chop → cook → serve, whose stages write bytes at once."""

import hashlib
import json
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from fakes.settings import write_settings
from hier import jobs, pipeline, project
from hier.config.settings import Settings
from hier.files.hashing import hashing
from hier.ledger.dvc_lock import LOCK, cache_file
from hier.ledger.output_cache import cache_outputs
from hier.ledger.record import recorded, sealed
from hier.pipeline import Stage

STAGES = (
    Stage(
        "shop",
        scope="dataset",
        help="Buy it",
        outputs=("data/{dataset}/larder",),
        directory=True,
        params=("datasets.{dataset}.ks",),
        code=(),
        packages=("pyyaml",),
    ),
    Stage(
        "chop",
        scope="dataset",
        help="Chop it",
        inputs=("data/{dataset}/larder",),
        outputs=("data/{dataset}/chopped.txt",),
        params=("datasets.{dataset}.ks",),
        code=("tools",),
        packages=("pyyaml",),
    ),
    Stage(
        "cook",
        scope="run",
        help="Cook it",
        inputs=("data/{dataset}/chopped.txt", "data/{dataset}/larder"),
        outputs=("runs/{run}/dish.txt", "runs/{run}/rest"),
        params=("runs.{run}.seed", "runs.{run}.head", "datasets.{dataset}.ks"),
        code=("tools", "pot.py"),
        packages=("pyyaml", "click"),
        tracked_files=("expected",),
    ),
    Stage(
        "serve",
        scope="suite",
        help="Serve it",
        fan_in=("runs/{run}/dish.txt",),
        outputs=("results/{suite}/menu.txt",),
        params=(),
        tracked_files=pipeline.SETTINGS,
        references=(pipeline.REFERENCE,),
        code=(),
        packages=("click",),
    ),
)
MODULE = "src/hier/stages/cook.py"
DRY = {"schedule": {"epochs": 0}}
SETTINGS = Settings(
    suites={"menu": ["soup", "stew"]},
    runs={
        "soup": {
            "dataset": "veg",
            "seed": 0,
            "head": {"dim": 4, "eps": 1e-08},
            "not used": 1,
            **DRY,
        },
        "stew": {
            "dataset": "veg",
            "seed": 1,
            "head": {"dim": 4, "eps": 1e-08},
            "not used": 1,
            **DRY,
        },
    },
    datasets={"veg": {"ks": [1, 2]}},
)
NAMES = ["shop@veg", "chop@veg", "cook@soup", "cook@stew", "serve@menu"]
LARDER = {"b": b"beans", "sub/a": b"apples"}


def install(folder, monkeypatch):
    """Go to `folder`, put the code there, and let the toy's stages be the only ones."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(project, "PACKAGE", folder / "src/hier")  # the stages' work is `work` below
    for name in reversed(list(pipeline.STAGES)):  # undone from the last to the first, so in their order
        monkeypatch.delitem(pipeline.STAGES, name)
    for stage in STAGES:
        monkeypatch.setitem(pipeline.STAGES, stage.name, stage)
    write("src/hier/tools/spoon.py", b"spoon")
    write("src/hier/pot.py", b"pot")
    write("expected/veg.csv", b"a,b")
    for stage in STAGES:
        write(f"src/hier/stages/{stage.name}.py", b"def run(): ...")
    write_settings(SETTINGS)


def write(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def job(name, settings=SETTINGS):
    """The job of that name, such as cook@soup."""
    return jobs.job(*name.split("@"), settings)


def work(job):
    """Write a job's outputs: what they hold follows from its parameters and inputs."""
    read = b"".join(Path(path).read_bytes() for path in job.inputs if Path(path).is_file())
    settings = json.dumps([*job.params.values()]).encode()
    for path in job.outputs:
        if path.endswith("larder"):
            for name, content in LARDER.items():
                write(f"{path}/{name}", content)
        elif path.endswith("rest"):
            write(f"{path}/peel", b"peel of " + settings)
        else:
            Path(path).unlink(missing_ok=True)  # as the real stages: a new file in its place
            write(path, f"{job.stage.name}({settings.decode()}): ".encode() + read)


def make(name, settings=SETTINGS, kept=True):
    """Do a job and record it, as `hier` does; gives the record."""
    this = job(name, settings)
    with recorded(this):
        work(this)
    if kept:
        with hashing() as hasher:
            cache_outputs(this, hasher)
    return json.loads(this.record.read_text())


def make_all(settings=SETTINGS):
    for this in jobs.jobs(settings):
        make(this.name, settings)


def other(**changes):
    """SETTINGS with other values of the run soup."""
    soup = SETTINGS.runs["soup"] | changes
    return replace(SETTINGS, runs=SETTINGS.runs | {"soup": soup})


@contextmanager
def forged(name, settings=SETTINGS):
    """A job's record to be changed in the block; afterwards it is sealed anew, as a forger would."""
    path = job(name, settings).record
    record = json.loads(path.read_text())
    yield record
    path.write_text(sealed(record))


# --- DVC and git ---------------------------------------------------------------------------------


def item(path, digest):
    """What dvc.lock says of a file or folder."""
    rest = {name: digest[name] for name in ("md5", "size", "nfiles") if name in digest}
    return {"path": path, "hash": "md5", **rest}


def entry(name, settings=SETTINGS):
    """The entry that DVC would write of a job, worked out apart from the code under test."""
    path = job(name, settings).record
    record = json.loads(path.read_text())
    own = {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    read = record["inputs"] | record["versioned"]
    return {
        "cmd": record["command"],
        "deps": [item(path, digest) for path, digest in read.items()],
        "params": dvc_params(record["params"]),
        "outs": [item(p, d) for p, d in (record["outputs"] | {str(path): own}).items()],
    }


def dvc_params(settings):
    """Dotted keys and values as DVC groups them, for the keys that the toy's stages have."""
    found = {}
    for key, value in settings.items():
        kind, name, inner = key.split(".", 2)
        found.setdefault(f"params/{kind}/{name}.yaml", {})[inner] = value
    return found


def write_lock(entries):
    LOCK.write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}, sort_keys=False))


def adopt():
    """Write dvc.lock and DVC's cache as `dvc commit` does; folders are left out of the cache."""
    write_lock({job(name).dvc_name: entry(name) for name in NAMES})
    for name in NAMES:
        for path in (*map(Path, job(name).outputs), job(name).record):
            if path.is_file():
                cached = cache_file(hashlib.md5(path.read_bytes()).hexdigest())
                cached.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, cached)


def git(*arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def commit(*paths):
    """Commit files to a new repository here; without any, an empty commit."""
    git("init", "--quiet")
    git("add", "--force", *paths) if paths else None
    git("commit", "--allow-empty", "--quiet", "--message", "x")
