"""`make own-photos`: every command of docs/your-own-photos.md as it stands there, in a project of its own.

Each must end well. Then the suites must have what the page promises: a graded table, and pages with galleries
and trees, from photos that were not copied.

    python -m fakes.own_photos FOLDER        (FOLDER is made anew, and removed when all went well)
"""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from fakes.project import Project

PAGE = Path(__file__).parents[2] / "docs/your-own-photos.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SUITES = ("shoes", "boots")
METHODS = {"pa", "hier"}


def main(folder: Path) -> None:
    """Do it; SystemExit says what is not as the page promises."""
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = Project(folder)
    for command in commands():
        print(f"$ {command}", flush=True)
        project.run("bash", "-c", command)
    for suite in SUITES:
        if wrong := missing(project, suite):
            raise SystemExit(f"own-photos: {suite}: {wrong}")
    others = project.run("git", "status", "--porcelain", "--untracked-files=all").stdout.split()
    if copied := [path for path in others if path.endswith(".jpg") and not path.startswith("photos/")]:
        raise SystemExit(f"own-photos: photos were copied: {copied[0]}")
    shutil.rmtree(folder)
    print(f"own-photos: all is well [{time.monotonic() - started:.0f} s]", flush=True)


def commands() -> list[str]:
    """The commands of the page, a line each."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def missing(project: Project, suite: str) -> str:
    """What a suite's results lack of what the page promises; "" where nothing does."""
    results = project.path(f"results/{suite}")
    table = pd.read_csv(results / "table.csv")
    if not set(table["method"]) > METHODS or table["grade"].isna().any():
        return f"the table has {set(table['method'])} with grades {set(table['grade'])}"
    if not (table.loc[table["measure"] == "R@1", "value"] > 0).all():
        return "a run finds nothing"
    for run in table["run"].unique():
        views = json.loads(project.path(f"runs/{run}/views.json").read_text(encoding="utf-8"))
        if not views["galleries"]["shared"] or not views["tree"]:
            return f"{run} has no galleries or no tree"
        page = results / f"report/runs/{run}.html"
        if not page.is_file():
            return f"{page.name} is missing"
    return ""


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"own-photos: {error}") from error
