"""`make` refuses a Python that the project does not run on, before anything is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def install(tmp_path, prelude):
    """`make install` by a Python that first does `prelude`; what it said, whether it failed."""
    python = tmp_path / "python"
    code = f"import sys; {prelude}; exec(sys.argv[2])"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "--silent", "install", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not (tmp_path / "venv").exists()
    return done.stdout, done.returncode


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0), (4, 11, 0)])
def test_a_python_that_is_too_old_or_too_new_is_refused(tmp_path, version):
    said, failed = install(tmp_path, f"sys.version_info = {version}")
    assert said.startswith("Python 3.11, 3.12 or 3.13 is needed")
    assert said.count("\n") == 1
    assert failed


def test_a_python_that_is_not_there_is_refused(tmp_path):
    said, failed = install(tmp_path, "sys.exit(127)")
    assert said.startswith("Python 3.11, 3.12 or 3.13 is needed")
    assert failed


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_refused(tmp_path, module):
    """Debian's, where the package python3-venv is not installed."""
    said, failed = install(tmp_path, f'sys.modules["{module}"] = None')
    assert said.endswith("has no module venv; install it (Debian, Ubuntu: apt install python3-venv)\n")
    assert said.count("\n") == 1
    assert failed
