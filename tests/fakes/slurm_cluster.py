"""A Slurm of two nodes on this machine: daemons of its own that listen on loopback alone.

Slurm wants a munge of its own, a controller, and a `slurmd` for each node. All that belongs to a cluster has
its folder in the environment. A guardian, which outlives whoever started it, ends all of these processes
once its standard input is closed, as it is also where its owner was killed.

    python -m fakes.slurm_cluster FOLDER        (the guardian)
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
SBIN = "/usr/sbin"  # where Debian has the daemons, and not all have it on their path
OURS = "HIER_CLUSTER"
NODES = ("n1", "n2")
PATIENCE = 180.0  # seconds for a daemon to start or to see what another did

# A GPU that is a file lets the profile ask for one as it is; a job finds no CUDA and uses its CPU.
# SlurmdTimeout and KillWait are short for a test. Jobs are remembered, so that it can ask how they ended.
CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=20
KillWait=20
MinJobAge=3600
SchedulerParameters=bf_interval=5,sched_interval=5
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=64000 Gres=gpu:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=64000 Gres=gpu:1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
GRES = "NodeName=n[1-2] Name=gpu File={card}\n"
# The step of a job that Snakemake starts has no SLURM_CONF any more; a real cluster's lies where Slurm looks.
SRUN = '#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {srun} "$@"\n'


def why_not() -> str:
    """Why there can be no cluster here; "" where there can."""
    path = f"{os.environ['PATH']}{os.pathsep}{SBIN}"
    if missing := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        return f"{missing[0]} is missing; install Slurm: apt-get install slurm-wlm munge (Debian)"
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        addresses = set()
    if not addresses or not all(ip_address(str(address)).is_loopback for address in addresses):
        return f"the host's name, {socket.gethostname()}, is not that of 127.0.0.1 in /etc/hosts"
    return ""


class NoClusterError(Exception):
    """Slurm's daemons, or a job of theirs, cannot work on this machine."""


class Cluster:
    """Runs while its block does. What lies in `bin` comes before a command of that name. NoClusterError where
    no job ran within some time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}{os.pathsep}{SBIN}"
        # What is started in this environment ends with the cluster; in the other it uses it, too.
        self.beside = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")} | {
            OURS: str(folder)
        }
        self.environment = self.beside | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._write()
        guardian = [sys.executable, "-m", "fakes.slurm_cluster", str(self.folder)]
        self.guardian = subprocess.Popen(guardian, stdin=subprocess.PIPE, start_new_session=True)
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End all that belongs to the cluster; may be called twice."""
        assert self.guardian.stdin is not None
        self.guardian.stdin.close()
        self.guardian.wait()
        for daemon in self.daemons.values():
            daemon.wait()

    def say(self, *command: str) -> str:
        """What a command of Slurm's prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def jobs(self) -> list[tuple[str, str, str, str]]:
        """Number, state, comment and node of every job, those that ended included."""
        lines = self.say("squeue", "--noheader", "--states=all", "--format=%i|%T|%k|%N").splitlines()
        return [(i, state, comment, node) for i, state, comment, node in (line.split("|") for line in lines)]

    def start_node(self, name: str) -> None:
        self._daemon(name, "slurmd", "-D", "-N", name)

    def kill_slurmd(self, name: str) -> None:
        """Kill a node's daemon; its jobs work on."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def lose_node(self, name: str) -> None:
        """Kill a node's daemon and all that works on it, as a power failure would."""
        self.kill_slurmd(name)
        at_work = [*processes_of(self.folder)]
        # Those first that would tell the controller how a job has ended.
        for process in [each for each in at_work if is_step(each, self.folder, name)]:
            process.kill()
        for process in at_work:
            with suppress(psutil.Error):
                if process.environ().get("SLURMD_NODENAME") == name:
                    process.kill()

    def wait_for(self, what: str, seen: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until `seen`; SystemExit says that `what` did not come, as when the cluster has ended."""
        give_up = time.monotonic() + patience
        while not seen():
            if time.monotonic() > give_up or self.guardian.poll() is not None:
                raise SystemExit(f"slurm: waited for {what} in vain; see {self.folder}/*.log")
            time.sleep(0.2)

    def _write(self) -> None:
        """Files of the cluster, each anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "state").mkdir(parents=True)
        self.bin.mkdir()
        for node in NODES:
            (self.folder / f"spool-{node}").mkdir()
        user, host = psutil.Process().username(), socket.gethostname()
        conf = CONF.format(folder=self.folder, host=host, user=user, ports=free_ports(3))
        (self.folder / "slurm.conf").write_text(conf)
        (card := self.folder / "card").touch()
        (self.folder / "gres.conf").write_text(GRES.format(card=card))
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        self.write_command("srun", SRUN.format(folder=self.folder, srun=shutil.which("srun")))

    def write_command(self, name: str, text: str) -> None:
        """Put a script before the command of that name."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def _start(self) -> None:
        try:
            self._start_daemons()
            subprocess.run(["srun", "true"], env=self.environment, check=True, timeout=PATIENCE)
        except (SystemExit, OSError, subprocess.SubprocessError) as error:
            raise NoClusterError(str(error)) from error
        for name, daemon in self.daemons.items():
            for connection in psutil.Process(daemon.pid).net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.ip != "127.0.0.1":
                    raise SystemExit(f"slurm: {name} listens on {connection.laddr.ip}, not on loopback alone")

    def _start_daemons(self) -> None:
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid",
                 "log-file": "munge.log", "seed-file": "munge.seed"}  # fmt: skip
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._daemon("munge", "munged", "--foreground", *options)
        self.wait_for("munge", (self.folder / "munge.socket").exists)
        self._daemon("slurmctld", "slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        self.wait_for("two idle nodes", lambda: self._idle() == len(NODES))

    def _idle(self) -> int:
        command = ["sinfo", "--noheader", "--states=idle", "--format=%D"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return int(done.stdout.strip() or 0)

    def _daemon(self, name: str, *command: str) -> None:
        path = self.environment["PATH"]
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [str(shutil.which(command[0], path=path)), *command[1:]],
                env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    """What belongs to the cluster in a folder: daemons, jobs, and commands that use it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(OURS) == str(folder) or is_step(process, folder):
                yield process


def is_step(process: psutil.Process, folder: Path, node: str = "*") -> bool:
    """Whether a process watches over a job for a node: it has written its title over its environment, and
    keeps the node's log open."""
    try:
        files = process.open_files() if process.name() == "slurmstepd" else []
    except psutil.Error:  # it has ended
        return False
    return any(Path(file.path).match(str(folder / f"{node}.log")) for file in files)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def guard(folder: Path) -> None:
    """Wait until the owner is gone; then end the cluster."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    while left := list(processes_of(folder)):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
