"""The one command, `hier`. What needs torch, pandas or Hydra is imported where it is used."""

import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

import click

from hier import __version__
from hier.commands import adding, checking, composing, remotes, stages, telling, using, watching
from hier.errors import HierError, NoProjectError, WorkerError
from hier.pipeline import STAGES
from hier.project import find_place, run_own_code
from hier.terminal import CLOSED, fill_closed_streams, give_up, show_everything

# What torch raises where a loader's worker dies while the others are being started.
DIED = re.compile(
    r"DataLoader worker \(pid \d+\) (is killed by signal: (?P<signal>[^.]+)|.* exit code (?P<code>\d+))\."
)


class InOrder(click.Group):
    """Commands in the order in which one uses them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the full trace of an error.")
@click.version_option(__version__, prog_name="hier")
def cli(debug: bool) -> None:
    """Rebuild, check and trust the results of HIER (CVPR 2023).

    \b
    hier compose suite=demo         choose what to run (writes params.yaml, params/, dvc.yaml)
    hier plan                       look at it
    snakemake --cores all           run it in parallel, or: dvc repro
    hier verify                     grade every cell against the recorded results

    Suites: demo (generated images, minutes), grocery and cars_half (real photos), omniglot, smoke
    (a minute), smoke-table1 (all of Table 1 in small; by `make smoke`), table1 (the paper's Table 1;
    needs GPUs), demo-seeds and the like (several seeds each), ablation-*. One stage by hand: hier
    train RUN, with the names that `hier plan` shows. Every command works in any folder of the project.
    """


for _command in (
    adding.dataset, composing.compose, composing.plan,
    *(stages.stage_command(stage) for stage in STAGES.values() if stage.name != "report"),
    stages.report, watching.watch,
    checking.verify, checking.adopt, checking.status, checking.recover, remotes.remote,
    telling.trace, telling.diff, telling.crate,
    using.embed_images, using.search, using.package,
):  # fmt: skip
    cli.add_command(_command)


def main() -> None:
    """Run the command line; one line and an exit code for whatever goes wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up, as after Ctrl-C
    fill_closed_streams()
    show_everything()
    code = _run_command("--debug" in sys.argv[1:])
    if (error := give_up(sys.stdout)) and not code:
        code = _could_not_go_on(error)
    give_up(sys.stderr)
    sys.exit(code)


def _run_command(debug: bool) -> int:
    """The exit code of the command in `sys.argv`, after it has run or has said what is wrong."""
    stdout, stderr = sys.stdout, sys.stderr
    try:
        run_own_code()
        _see_to_a_home()
        return cli(standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        said = str(stop.__cause__ or stop)  # of a download: what it keeps; else nothing
        _complain(said or "interrupted; nothing half-written was kept")
        return 130
    except SystemExit as stop:  # so click and rich leave where a reader has gone
        if sys.stdout is stdout and not isinstance(stop.__context__, BrokenPipeError):
            raise
        sys.stdout, sys.stderr = stdout, stderr
        return CLOSED
    except OSError as error:
        if debug or error.errno is None:  # not the system's, but a library's own
            raise
        return _could_not_go_on(give_up(sys.stdout) or error)
    except UnicodeEncodeError as error:  # a file's name, where the locale has ASCII alone
        if debug or error.encoding != sys.getfilesystemencoding():
            raise
        what = f"this locale ({error.encoding}) cannot name the file {error.object}"
        _complain(f"error: {what}; set one of UTF-8, such as LC_ALL=C.UTF-8, and start again")
        return 1
    except RuntimeError as error:
        if debug or not (found := DIED.match(str(error))):
            raise
        _complain(f"error: {WorkerError(_how(found))}")
        return WorkerError.exit_code
    except HierError as error:
        if debug:
            raise
        _complain(f"error: {error}{_seen_from()}")
        return error.exit_code


def _how(died: re.Match[str]) -> str:
    """How a worker ended, in the words for one that ends later."""
    if died["code"]:
        return f"ended with exit code {died['code']}"
    names = {signal.strsignal(each): each.name for each in signal.Signals}
    return f"was killed by {names.get(died['signal'], died['signal'])}"


def _see_to_a_home() -> None:
    """Set HOME and USER, where neither they nor the system say, as in a container that runs under any number
    of a user: Matplotlib, torch, Snakemake, DVC and `hier plan` keep things in a folder of the user's own."""
    try:
        Path.home()
    except RuntimeError:
        from tempfile import gettempdir, mkdtemp

        home = Path(gettempdir(), f"hier-home-{os.geteuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        is_own = home.lstat().st_uid == os.geteuid()
        os.environ["HOME"] = str(home) if is_own else mkdtemp(prefix="hier-home-")
        os.environ.setdefault("USER", str(os.geteuid()))


def _seen_from() -> str:
    """In another folder than the root: where the paths and commands of a message hold."""
    with suppress(NoProjectError):
        place = find_place()
        return "" if place.root == place.here else f" (in the project's root: {place.root})"
    return ""


def _could_not_go_on(error: OSError) -> int:
    """Say what the system refused, but of a reader that has gone; the exit code."""
    if isinstance(error, BrokenPipeError):
        return CLOSED
    path = error.filename2 or error.filename
    what = "cannot go on" if path is None else f"cannot read or write: {path}"
    _complain(f"error: {what}: {error.strerror}{_seen_from()}")
    return 1


def _complain(line: str) -> None:
    with suppress(OSError):  # nobody can be told
        print(line, file=sys.stderr, flush=True)
