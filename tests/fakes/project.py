"""Throw-away projects: copies of this repository in which the engines truly run."""

import os
import shutil
import subprocess
import sys
from copy import copy
from pathlib import Path

from fakes.nursery import DVC, HIER, SNAKEMAKE, engines, forking, nursery

ROOT = Path(__file__).parents[2]
EVERY_JOB = "import sys; from fakes.every_job import main; main(int(sys.argv[1]), start='fork')"
FORKED = {"hier": (nursery, HIER), "snakemake": (engines, SNAKEMAKE), "dvc": (engines, DVC)}


class Project:
    """A copy of the repository's versioned files, in a git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        results = ("runs/", "results/", "dvc.lock")  # git keeps the figures of the suite demo
        for name in names.splitlines():
            if (ROOT / name).is_file() and not name.startswith(results):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.run("git", "init", "--quiet")
        for name, value in (("user.name", "test"), ("user.email", "test@example.org")):
            self.run("git", "config", name, value)  # an experiment of DVC's is a commit, too
        self.commit("copy")

    def run(
        self, *command: str, check: bool = True, genuine: bool = False, first: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project with this interpreter's programs first on the path.

        `hier` and the engines are forks of processes that have imported what they need, and so is
        what these and `make` call; unless they shall be genuine, programs as a user starts them.
        Each fork does what the code `first` says.
        """
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}
        if command[0] in (*FORKED, "make") and not genuine:
            paths = [str(self.folder / "src"), *filter(None, [environment.get("PYTHONPATH")])]
            environment = forking(environment | {"PYTHONPATH": os.pathsep.join(paths)}, first)
        if command[0] in FORKED and not genuine:
            made, code = FORKED[command[0]]
            done = made().run(first + code, command[1:], self.folder, environment, timeout=600)
        else:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, code: str, *arguments: str) -> str:
        """What Python code prints that may import the project's `hier` and the tests' `fakes`."""
        search = f"{self.folder}/src{os.pathsep}{self.folder}/tests"
        environment = os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
        done = nursery().run(code, arguments, self.folder, environment, timeout=600)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def make_all(self, processes: int = 2) -> None:
        """Do every job, without an engine."""
        self.python(EVERY_JOB, str(processes))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def clone(self, folder: Path) -> "Project":
        """A clone in another folder."""
        self.run("git", "clone", "--quiet", ".", str(folder))
        other = copy(self)
        other.folder = folder
        for name, value in (("user.name", "test"), ("user.email", "test@example.org")):
            other.run("git", "config", name, value)
        return other

    def path(self, name: str) -> Path:
        return self.folder / name
