"""Which kernels a process computes with, seen in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hier import kernels
from hier.kernels import PORTABLE, STEERING

ROOT = Path(__file__).parents[1]
PROGRAM = """
import json, os, sys
from hier.errors import ConfigError
from hier.kernels import choose_kernels, kernels_in_use
exec(sys.argv[3])
try:
    choose_kernels(sys.argv[1], int(sys.argv[2]))
except ConfigError as error:
    sys.exit(str(error))
import numpy, torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(json.dumps({
    "in use": kernels_in_use(),
    "torch": torch.backends.cpu.get_cpu_capability(),
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__[name]],
    "blas": [(lib["architecture"], lib["num_threads"])
             for lib in __import__("threadpoolctl").threadpool_info() if lib["internal_api"] == "openblas"],
}))
"""
can_be_portable = pytest.mark.skipif(bool(kernels.lacking()), reason=kernels.lacking())


def process(chosen, threads=1, first="", **environment):
    """A process that chooses, after the code `first`, with these variables beside those of a bare shell."""
    chosen_here = (*PORTABLE, *STEERING, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    inherited = {n: v for n, v in os.environ.items() if n not in chosen_here}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, chosen, str(threads), first],
        env=inherited | {"PYTHONPATH": str(ROOT / "src")} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@can_be_portable
def test_portable_kernels_are_in_use_in_every_library():
    found = json.loads(process("portable", threads=2).stdout)
    assert (found["in use"], found["torch"], found["numpy"]) == ("portable", "AVX2", [])
    assert found["blas"] == [["Haswell", 1]]


def test_native_kernels_change_no_variable_and_their_record_names_those_of_the_user():
    assert json.loads(process("native").stdout)["in use"] == "native"
    found = json.loads(process("native", ATEN_CPU_CAPABILITY="default").stdout)
    assert (found["in use"], found["torch"]) == ("native ATEN_CPU_CAPABILITY=default", "DEFAULT")


@can_be_portable
@pytest.mark.parametrize("name", [*PORTABLE, *STEERING])
def test_a_variable_of_the_users_that_contradicts_is_named(name, monkeypatch):
    for other in (*PORTABLE, *STEERING):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "other")
    with pytest.raises(kernels.ConfigError) as caught:
        kernels.choose_kernels("portable")
    assert f"the environment says {name}=other; unset it, or compose with" in str(caught.value)
    assert kernels.kernels_in_use() == f"native {name}=other"


@can_be_portable
def test_what_the_user_has_set_alike_is_no_contradiction():
    assert json.loads(process("portable", **PORTABLE).stdout)["in use"] == "portable"


@can_be_portable
def test_after_numpy_it_is_too_late():
    done = process("portable", first="import numpy")
    assert done.returncode == 1
    assert "numpy was loaded before; start a new process" in done.stderr


def test_a_processor_that_cannot_computes_by_its_own(monkeypatch):
    monkeypatch.setattr(kernels, "lacking", lambda: "the processor has no avx2")
    for name in (*PORTABLE, *STEERING):
        monkeypatch.delenv(name, raising=False)
    kernels.choose_kernels("portable")
    assert kernels.kernels_in_use() == "native"
    assert not any(name in os.environ for name in PORTABLE)


@pytest.mark.parametrize(
    ("machine", "flags", "said"),
    [
        ("x86_64", "fpu sse2 fma avx2", ""),
        ("x86_64", "fpu sse2 avx", "the processor has no avx2, fma"),
        ("aarch64", "", "aarch64 is not x86-64"),
    ],
)
def test_what_a_processor_lacks(machine, flags, said, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(kernels, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(kernels.platform, "machine", lambda: machine)
    assert kernels.lacking.__wrapped__() == said
