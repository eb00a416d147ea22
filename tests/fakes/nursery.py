"""Python processes that need not import: each is a fork of one that has, and otherwise a process of its own.

Most of what a call of `hier` takes is the import of torch, pandas and the like. A nursery imports them once
and then forks for each call: the child has its own folder, environment, standard streams, session and
signals, imports the code of hier that PYTHONPATH names, and ends as any interpreter ends, but for objects
that nobody asks for any more (their destruction takes longer than most calls). What is decided when an
interpreter starts (sitecustomize, encodings, warnings) is the nursery's, and a child's parents are none of
those who called it: tests of that start a process from nothing.

Engines call `hier` by its name, and `hier` calls itself and DVC as modules of its interpreter. In the
environment of `forking` both are fakes/bin/fork, which asks a nursery for a child and ends as that ends.
"""

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

TESTS = Path(__file__).parents[1]
BIN = Path(__file__).parent / "bin"
# What is installed and takes long to import. Nothing of hier, whose code each call finds for itself.
HEAVY = (
    "PIL.Image", "annotated_types", "antlr4", "click", "faiss", "fakes.heavy", "filelock", "hydra",
    "jinja2", "matplotlib.backends.backend_svg", "matplotlib.figure", "numpy", "omegaconf", "pandas",
    "pandas.io.formats.style", "pandera.pandas", "platformdirs", "psutil", "pyarrow.dataset",
    "pyarrow.parquet", "pydantic", "pytorch_metric_learning.losses", "requests", "rich.table",
    "safetensors.torch", "scipy.cluster.hierarchy", "sklearn.manifold", "sqlite3", "torch",
    "torch.utils.data", "yaml",
)  # fmt: skip
# The same of those who call `hier`, and what the Snakefile's part of hier needs.
ENGINES = (
    "docutils.core", "dulwich.porcelain", "dvc.cli.parser", "dvc.data_cloud", "dvc.dvcfile",
    "dvc.repo.experiments.queue.celery", "dvc.repo.index", "dvc.stage.loader", "dvc_http", "filelock",
    "hydra.core.override_parser.overrides_parser", "jinja2", "networkx", "numpy", "platformdirs", "psutil",
    "pydantic", "pygit2", "pyparsing", "requests", "ruamel.yaml", "smart_open", "snakemake.cli",
    "yaml", "yte",
)  # fmt: skip

ENVIRONMENT = dict(os.environ)  # before any test changes it
# As the installed scripts.
HIER = "from hier.cli import main; main()"
DVC = "import sys; from dvc.cli import main; sys.exit(main())"
SNAKEMAKE = "import sys; from snakemake.cli import main; sys.exit(main())"

PROGRAM = """
import atexit, gc, json, os, select, socket, sys, threading, weakref
from contextlib import suppress
from importlib import import_module
door, gate = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
for name in sys.argv[3:]:
    try:
        import_module(name)
    except ModuleNotFoundError as error:  # not on every system is there faiss
        if error.name != name.partition(".")[0]:
            raise
home = [path for path in sys.path[1:] if path not in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
for finalizer in list(weakref.finalize._registry):
    finalizer.atexit = False  # of what was imported, which the nursery ends with
gc.collect()
gc.freeze()  # no child looks through all that again
children = {}  # by a handle that can be read once it has ended: a child, and where its end is told
while True:
    ready = select.select([door, gate, *children], [], [])[0]
    for handle in children.keys() & ready:
        child, tell = children.pop(handle)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(tell, b"%d\\n" % status)
        os.close(tell)
        os.close(handle)
    if door in ready:
        message, fds, _, _ = socket.recv_fds(door, 1 << 20, 3)
        if not message:
            for child, _ in children.values():
                os.waitpid(child, 0)
            os._exit(0)
    elif gate in ready:
        with gate.accept()[0] as caller:
            message, fds, _, _ = socket.recv_fds(caller, 1 << 20, 3)
    else:
        continue
    out, error, tell = fds
    child = os.fork()
    if not child:
        break
    os.close(out)
    os.close(error)
    with suppress(BrokenPipeError):
        os.write(tell, b"%d\\n" % child)
    children[os.pidfd_open(child)] = child, tell
door.close()
gate.close()
os.close(tell)
for handle, (_, tell) in children.items():
    os.close(handle)
    os.close(tell)
for fd, number in (out, 1), (error, 2):
    os.dup2(fd, number)
    os.close(fd)
call = json.loads(message)
if call["session"]:
    os.setsid()
os.chdir(call["folder"])
os.environ.clear()
os.environ.update(call["environment"])
if "NURSERIES" in os.environ:
    sys.executable = json.loads(os.environ["NURSERIES"])["python"]
sys.argv[:] = ["-c", *call["arguments"]]
sys.orig_argv[:] = [sys.executable, "-c", call["code"], *call["arguments"]]
given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
sys.path[:] = ["", *map(os.path.abspath, given), *home]
sys.path_importer_cache.clear()
status = 0
try:
    exec(compile(call["code"], "<string>", "exec"))
except SystemExit as ended:
    if not isinstance(ended.code, (int, type(None))):
        raise
    status = ended.code or 0
threading._shutdown()
atexit._run_exitfuncs()
with suppress(OSError, ValueError):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
"""


class Nursery:
    """One process that has imported modules, to be closed at the end."""

    def __init__(self, modules: Sequence[str] = HEAVY, path: Sequence[Path] = ()) -> None:
        paths = [str(TESTS), *map(str, path), *filter(None, [ENVIRONMENT.get("PYTHONPATH")])]
        self._folder = TemporaryDirectory(prefix="nursery-")
        self.gate = f"{self._folder.name}/gate"
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gate:
            gate.bind(self.gate)
            gate.listen(64)
            given = theirs.fileno(), gate.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *map(str, given), *modules],
                cwd="/", env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)}, pass_fds=given,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def close(self) -> None:
        self._door.close()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._folder.cleanup()

    def start(
        self, code: str, arguments: Sequence[str], folder: Path | str = ".",
        environment: Mapping[str, str] | None = None, session: bool = False,
    ) -> "Child":  # fmt: skip
        """Run `python -c code arguments...`."""
        call = {
            "code": code,
            "arguments": [str(argument) for argument in arguments],
            "folder": str(Path(folder).absolute()),
            "environment": dict(os.environ if environment is None else environment),
            "session": session,
        }
        pipes = [os.pipe() for _ in range(3)]
        socket.send_fds(self._door, [json.dumps(call).encode()], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        return Child(*(read for read, _ in pipes))

    def run(
        self, code: str, arguments: Sequence[str], folder: Path | str = ".",
        environment: Mapping[str, str] | None = None, timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """The same, to its end."""
        child = self.start(code, arguments, folder, environment)
        try:
            out, error = child.communicate(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        assert child.returncode is not None
        return subprocess.CompletedProcess([*arguments], child.returncode, out, error)


@cache
def nursery() -> Nursery:
    """The one of this process for whatever runs the code of some project."""
    made = Nursery()
    atexit.register(made.close)
    return made


@cache
def engines() -> Nursery:
    """The one of this process for Snakemake and DVC."""
    made = Nursery(ENGINES)
    atexit.register(made.close)
    return made


def forking(environment: Mapping[str, str], first: str = "") -> dict[str, str]:
    """An environment in which programs that call `hier` or DVC get forks of the nurseries.

    Each of these does what the code `first` says.
    """
    places = {
        "hier": (nursery().gate, first + HIER),
        "dvc": (engines().gate, first + DVC),
        "python": str(BIN / "python"),
        "path": environment.get("PYTHONPATH", ""),
    }
    path = os.pathsep.join([str(BIN), environment["PATH"]])
    return {**environment, "PATH": path, "NURSERIES": json.dumps(places)}


class Stream:
    """What a child says, read without a buffer."""

    def __init__(self, fd: int) -> None:
        self._fd = open(fd, "rb", buffering=0)  # noqa: SIM115

    def fileno(self) -> int:
        return self._fd.fileno()

    def readline(self) -> str:
        return self._fd.readline().decode()

    def read(self) -> str:
        return self._fd.read().decode()

    def close(self) -> None:
        self._fd.close()

    @property
    def closed(self) -> bool:
        return self._fd.closed


class Child:
    """What subprocess.Popen would give, as far as tests need it."""

    def __init__(self, out: int, error: int, told: int) -> None:
        self.stdout, self.stderr, self._told = map(Stream, (out, error, told))
        self.returncode: int | None = None
        pid = self._told.readline()
        assert pid, "the nursery has ended: its process could not import some module, perhaps"
        self.pid = int(pid)

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not _ready([self._told], timeout):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._told.readline())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it still says on both streams, and its end; nothing where that was told before."""
        said, end = {self.stdout: b"", self.stderr: b""}, time.monotonic() + (timeout or 1e6)
        if self.returncode is not None and self._told.closed:
            return "", ""
        going_on = list(said)
        while going_on:
            found = _ready(going_on, max(0, end - time.monotonic()))
            if not found:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            for stream in found:
                some = os.read(stream.fileno(), 1 << 16)
                said[stream] += some
                if not some:
                    going_on.remove(stream)
        self.wait(max(1, end - time.monotonic()))
        for stream in (*said, self._told):
            stream.close()
        return said[self.stdout].decode(), said[self.stderr].decode()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _ready(streams: list[Stream], timeout: float | None) -> list[Stream]:
    """Those of which something can be read."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(timeout)]  # type: ignore[misc]
