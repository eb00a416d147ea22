"""The package `roc-validator` without a network.

It wants an older `rich` than this project's, so it lives in an environment of its own:

    python -m venv .validator && .validator/bin/pip install roc-validator==0.13.0

It is looked for there, in the folder that HIER_ROC_VALIDATOR names, and on the path.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

PROGRAM = "rocrate-validator"
PROFILE = "provenance-run-crate"
CONTEXT = Path(__file__).with_name("ro-crate-1.1-context.jsonld")
ADDRESS = "https://w3id.org/ro/crate/1.1/context"

# Run by the validator's own Python: the one page that it asks for, put into its HTTP cache.
FILL = """
import io, sys
from requests import Response
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

address, file, cache = sys.argv[1:]
kind = {"Content-Type": "application/ld+json"}

class Local(BaseAdapter):
    def send(self, request, **options):
        answer = Response()
        answer.status_code, answer.request, answer.url = 200, request, request.url
        answer.headers.update(kind)
        body = io.BytesIO(open(file, "rb").read())
        answer.raw = HTTPResponse(body, kind, 200, preload_content=False)
        return answer

    def close(self):
        pass

with CachedSession(cache, backend="sqlite", expire_after=-1) as session:
    session.mount("https://", Local())
    assert session.get(address).status_code == 200
"""


def find_validator() -> Path | None:
    """The program, or None where it is not installed."""
    home = Path(os.environ.get("HIER_ROC_VALIDATOR", Path(__file__).parents[2] / ".validator"))
    program = home / "bin" / PROGRAM
    found = str(program) if program.exists() else shutil.which(PROGRAM)
    return Path(found) if found else None


class Validator:
    """Says what is wrong with a crate; asks no network.

    Args:
        cache: a file for the validator's HTTP cache (`.sqlite` is added).
    """

    def __init__(self, program: Path, cache: Path) -> None:
        self.program, self.cache = program, cache
        python = program.with_name("python")
        command = [python, "-c", FILL, ADDRESS, str(CONTEXT), str(cache)]
        subprocess.run(command, check=True, capture_output=True)

    def problems(self, crate: Path) -> list[str]:
        """Every requirement that is not met, in the validator's words."""
        report = self.cache.with_name("report.json")
        done = self._run(crate, "--output-format", "json", "--output-file", str(report))
        found = json.loads(report.read_text())
        assert done.returncode == (0 if found["passed"] else 1), done.stdout + done.stderr
        assert bool(found["issues"]) != found["passed"]
        return [issue["message"] for issue in found["issues"]]

    def accepts(self, crate: Path) -> bool:
        """Whether all is well (of a zip file, the validator's JSON report fails)."""
        return self._run(crate, "--no-paging").returncode == 0

    def _run(self, crate: Path, *options: str) -> subprocess.CompletedProcess[str]:
        fixed = ["--offline", "--cache-path", str(self.cache), "-p", PROFILE, "-l", "required"]
        return subprocess.run(
            [self.program, "-y", "validate", *fixed, *options, str(crate)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
