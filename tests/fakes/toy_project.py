"""The toy pipeline as a project of its own, in which the engines truly run, on this host or on others.

Its code is the repository's, but every process that starts in it takes the stages of fakes/toy_pipeline.py
for the pipeline's. Cooking goes on for as long as there is a file `simmer`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import toy_pipeline
from fakes.settings import write_settings

ROOT = Path(__file__).parents[2]
ENGINES = ("Snakefile", "workflow", "profiles", ".dvc/config", ".dvcignore", ".gitignore")
RUNTIME = {"runtime": {"threads": 1, "device": "cpu", "kernels": "portable"}}
SETTINGS = replace(
    toy_pipeline.SETTINGS, runs={name: run | RUNTIME for name, run in toy_pipeline.SETTINGS.runs.items()}
)
EVERYWHERE = """
import sys
from dataclasses import replace
from fakes import toy_pipeline
from hier import pipeline
from hier.config.settings import Settings
pipeline.STAGES.clear()
for stage in toy_pipeline.STAGES:  # Snakemake knows folders as the only output alone
    pipeline.STAGES[stage.name] = replace(stage, outputs=stage.outputs[:1])
Settings.suite = lambda self, name=None: None  # the toy's fit no schema
if any(word.endswith("snakemake") for word in sys.orig_argv):
    from hier.planning import requests
    requests.Requests.__init__ = lambda self, suite, gpus=True: None
    requests.Requests.of = lambda self, stage, key: requests.Request(0, 1, 100, 10)
    requests.Requests.threads = lambda self, stage, run: 1
"""
OWN_FLOCK = """
import fcntl
fcntl.flock = lambda *_: None  # each machine has its own, and so two never meet
"""
STAGE = """
import time
from pathlib import Path
def run(job, suite, key):
    from fakes.toy_pipeline import work
    with Path("log").open("a") as log:
        print(job.name, file=log)
    while job.stage.name == "cook" and Path("simmer").exists():
        time.sleep(0.02)
    work(job)
"""
NOT_COUNTED = ((".hier", "locks"), (".hier", "known.sqlite"))
HOST = """
hostname "$0" && mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"
"""


class ToyProject:
    """A folder in which `snakemake`, `dvc repro` and `hier` work on the toy's jobs."""

    def __init__(self, folder: Path, own_flock: bool = False) -> None:
        self.folder, self.site = folder / "project", folder / "site"
        shutil.copytree(
            ROOT / "src/hier", self.path("src/hier"), ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ENGINES:
            self.path(name).parent.mkdir(exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.path(name))
        for name, text in {"tools/spoon.py": "spoon", "pot.py": "pot"}.items():
            self.path("src/hier", name).parent.mkdir(exist_ok=True)
            self.path("src/hier", name).write_text(f"'''{text}'''")
        for stage in toy_pipeline.STAGES:
            self.path(f"src/hier/stages/{stage.name}.py").write_text(STAGE)
        self.path("expected").mkdir()
        self.path("expected/veg.csv").write_text("a,b")
        write_settings(SETTINGS, self.folder)
        self.site.mkdir()
        (self.site / "sitecustomize.py").write_text(EVERYWHERE + OWN_FLOCK * own_flock)

    def path(self, *names: str) -> Path:
        return self.folder.joinpath(*names)

    def start(self, *command: str, host: str = "", **variables: str) -> "subprocess.Popen[str]":
        """Start a command, as a user does; on another `host`, which has processes of its own and was booted
        at another time. Skips where that is not permitted."""
        paths = [self.site, self.path("src"), ROOT / "tests"]
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, paths)), "DVC_NO_ANALYTICS": "1",
        }  # fmt: skip
        return subprocess.Popen(
            [*(self._on(host) if host else ()), *command], cwd=self.folder, env=environment | variables,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *command: str, host: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*command, host=host, **variables)
        try:
            out, error = process.communicate(timeout=120)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, process.returncode, out, error)

    def write_dvc_yaml(self) -> None:
        """Make a git repository, and write dvc.yaml as `hier compose` does."""
        code = "from hier.dvc_view import *; DVC_YAML.write_text(dvc_yaml(Settings.read()))"
        done = self.run(sys.executable, "-c", code)
        assert done.returncode == 0, done.stderr
        assert self.run("git", "init", "--quiet").returncode == 0

    def worked(self) -> list[str]:
        """The jobs that did their work, in order, also such that were ended."""
        log = self.path("log")
        return log.read_text().split() if log.exists() else []

    def files(self) -> dict[str, tuple[int, str]]:
        """Time and hash of every file, but those that say who is at work or remember hashes."""
        found = {}
        for path in (path for path in self.folder.rglob("*") if path.is_file()):
            parts = path.relative_to(self.folder).parts
            if "__pycache__" not in parts and parts[:2] not in NOT_COUNTED:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found["/".join(parts)] = (path.lstat().st_mtime_ns, digest)
        return found

    def _on(self, host: str) -> list[str]:
        boot = self.site.with_name(f"boot-{host}")
        boot.write_text(f"{hashlib.md5(host.encode()).hexdigest()}\n")
        spaces = ["--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        wrap = ["unshare", *spaces, "sh", "-c", HOST, host, str(boot)]
        if os.geteuid() or subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
            pytest.skip("only root can give processes another host, where namespaces are allowed")
        return wrap
