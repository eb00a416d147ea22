"""The one command, `hier`. What needs torch, pandas or Hydra is imported where it is used."""

import json
import math
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from hier import __version__
from hier.errors import HierError, NoProjectError
from hier.home import see_to_a_home
from hier.project import Place, at_root, find_place, run_own_code
from hier.terminal import CLOSED, give_up, show_everything

STAGE_HELP = {
    "download": "Draw or fetch DATASET's archive and verify it → data/DATASET/archive/",
    "prepare": "Unpack and check DATASET → data/DATASET/index.parquet, images.npy",
    "train": "Train RUN → runs/RUN/model.safetensors, proxies.safetensors, history.csv",
    "embed": "Embed the test images with RUN's model → runs/RUN/embeddings.safetensors",
    "evaluate": "Measure RUN's embeddings → runs/RUN/metrics.json, views.json",
    "tabulate": "Gather all runs of the suite in one graded table → results/table.csv, table.md",
}


class InProject(click.Command):
    """A command that works in the root of the user's project, whose subfolder it was called in."""

    def invoke(self, ctx: click.Context) -> Any:
        with at_root() as ctx.obj:
            return super().invoke(ctx)


class InOrder(click.Group):
    """Commands in the order in which one uses them."""

    command_class = InProject

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

    Suites: demo (generated images, minutes), grocery (real photos), omniglot, smoke (a minute),
    smoke-table1 (all of Table 1 in small; by `make smoke`), table1 and table1-seeds (the paper's
    Table 1; needs GPUs), ablation-*. One stage by hand: hier train RUN, with the names that
    `hier plan` shows. Every command works in any folder of the project.
    """


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that keep some of a suite's runs."""
    for name in ("backbone", "method", "dataset"):
        command = click.option(
            f"--{name}",
            multiple=True,
            help=f"Only runs of this {name}; may be given several times.",
        )(command)
    return command


@cli.command()
@click.argument("overrides", nargs=-1)
@filters
@click.option("--check", is_flag=True, help="Write nothing; fail if some file would change.")
def compose(
    overrides: tuple[str, ...],
    dataset: tuple[str, ...],
    method: tuple[str, ...],
    backbone: tuple[str, ...],
    check: bool,
) -> None:
    """Resolve a suite into params.yaml, params/ and dvc.yaml.

    params.yaml names datasets and runs; what each is set to stands in params/datasets/DATASET.yaml
    and params/runs/RUN.yaml.

    \b
    hier compose suite=grocery                        a suite of conf/suite/
    hier compose suite=demo methods=[pa,hier] seeds=[0,1,2]
    hier compose suite=table1 --dataset cub --backbone vit_small
    hier compose suite=demo regularizer.weight=1.0    every run that has this setting and that it fits
    hier compose suite=demo 'runs.demo-hier-*.schedule.epochs=5'
    """
    from hier.config.compose import compose as compose_suite
    from hier.config.params import left_over, texts
    from hier.config.suite import only
    from hier.dvc_view import DVC_YAML, dvc_yaml
    from hier.errors import ConfigError
    from hier.files.atomic import write_texts

    suite = only(compose_suite(overrides), dataset=dataset, method=method, backbone=backbone)
    params = suite.model_dump()
    composed = texts(params) | {DVC_YAML: dvc_yaml(params)}
    changed = {
        path: text
        for path, text in composed.items()
        if not path.exists() or path.read_bytes() != text.encode()
    }
    if check:
        for path in changed:
            raise ConfigError(f"{path} is not what `hier compose` gives; run it without --check")
        for path in left_over(params):
            raise ConfigError(f"{path} is of no run or dataset; run `hier compose` without --check")
    write_texts(changed)
    for path in left_over(params):
        path.unlink()
    click.echo(f"suite {suite.suite}: {len(suite.runs)} runs on {', '.join(suite.datasets)}")


@cli.command()
@click.argument("overrides", nargs=-1)
@filters
@click.option("--images-per-second", type=float, help="Rate of training, to estimate hours from.")
@click.option(
    "--measure",
    is_flag=True,
    help="Measure the rates on this machine (some seconds) and keep them for the next plan.",
)
def plan(
    overrides: tuple[str, ...],
    dataset: tuple[str, ...],
    method: tuple[str, ...],
    backbone: tuple[str, ...],
    images_per_second: float | None,
    measure: bool,
) -> None:
    """Show the runs of params.yaml, or of the suite that OVERRIDES compose, and what they cost.

    Hours are shown where this machine's rates are kept from an earlier --measure (in
    ~/.cache/hier/throughput.json), or where one is given.

    \b
    hier plan suite=table1 --dataset cub --measure
    hier plan suite=table1 --images-per-second 1500
    """
    from hier.config.suite import only
    from hier.errors import ConfigError
    from hier.planning.plan import show

    if images_per_second is not None and not 0 < images_per_second < math.inf:
        raise ConfigError(
            f"--images-per-second must be a number above 0 (given: {images_per_second:g})"
        )
    chosen = {"dataset": dataset, "method": method, "backbone": backbone}
    suite = only(_suite(overrides), **chosen)
    show(suite, images_per_second, measure, _compose_first(suite.suite, overrides, chosen))


def _compose_first(
    suite: str, overrides: tuple[str, ...], chosen: dict[str, tuple[str, ...]]
) -> str:
    """The command that writes what a plan shows to params.yaml; '' where that is params.yaml's."""
    options = [f"--{kind}={name}" for kind, names in chosen.items() for name in names]
    if not overrides and not options:
        return ""
    words = overrides or (f"suite={suite}",)  # of params.yaml, whose other overrides are not known
    return shlex.join(["hier", "compose", *words, *options])


force_option = click.option(
    "--force", is_flag=True, envvar="HIER_FORCE", help="Work anew even where it is current."
)
out_option = click.option(
    "--out", metavar="FOLDER", help="Where such a page is written (results/compare, results/times)."
)


def _stage(name: str) -> None:
    """Add the command of one stage."""
    from hier.pipeline import STAGES

    each = STAGES[name].each

    def command(force: bool, key: str = "") -> None:
        from hier.ledger.run_job import run_stage

        run_stage(name, key, force)

    command = force_option(command)
    if each != "suite":
        command = click.argument("key", metavar=each.upper())(command)
    command.__doc__ = STAGE_HELP[name] + "."
    cli.command(name)(command)


for _name in STAGE_HELP:
    _stage(_name)


@cli.command()
@force_option
@click.option(
    "--against",
    type=click.Path(exists=True),
    metavar="OTHER",
    help="Compare results/table.csv with another instead of making the report.",
)
@click.option("--times", is_flag=True, help="Show times and images per second instead.")
@out_option
def report(force: bool, against: str | None, times: bool, out: str | None) -> None:
    """Make the pages: table, runs, hierarchies, neighbours → results/report/index.html.

    \b
    Two more pages are no part of that report and made when asked for:
    --against OTHER    what moved since OTHER (a table.csv, a report, a folder of results, another copy
                       of this project), and whether by more than the seeds' spread
    --times            seconds, images per second, memory and machine of each run
    """
    from hier.ledger.run_job import run_stage

    if times and against:
        raise click.UsageError("--times and --against exclude each other; give one")
    if times:
        from hier.config.suite import load
        from hier.reporting import times as pages_of_times

        _say_written(pages_of_times.write_times(load(), _given(out) or pages_of_times.OUT))
    elif against:
        from hier.config.suite import load
        from hier.reporting.comparison_pages import OUT, compare_reports

        page, words = compare_reports(load(), _place().from_root(against), _given(out) or OUT)
        click.echo(words)
        _say_written(page)
    elif out:
        raise click.UsageError("--out goes with --against or --times")
    else:
        run_stage("report", "", force)


@cli.command()
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs beside each other.",
)
def run(jobs: int) -> None:
    """Run everything in params.yaml that is not current, without Snakemake or DVC.

    For machines that have neither: one process for each of --jobs runs its stages in order. What a
    record proves current is not run again; both engines accept the results.
    """
    from hier.ledger.run_job import run_suite

    run_suite(jobs)


@cli.command()
@click.option("--deep", is_flag=True, help="Read every byte; trust no size, time or inode.")
@click.option("--rerun", type=click.IntRange(min=1), metavar="N", help="Rebuild N runs elsewhere.")
@click.option("--seed", default=0, show_default=True, help="Which runs --rerun picks.")
@click.option("--by-hash", is_flag=True, help="Judge what is not here by its committed hash.")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything as JSON.")
@click.option(
    "--update-expected",
    is_flag=True,
    help="Record the present results as the expected ones (expected/<suite>.csv).",
)
def verify(
    deep: bool, rerun: int | None, seed: int, by_hash: bool, as_json: bool, update_expected: bool
) -> None:
    """Grade every cell of the suite, and hold every byte against its record and dvc.lock.

    \b
    identical          the same bytes as the reference run's
    within tolerance   as near as the same code comes on another kind of machine
    out of tolerance   not even that
    stale              inputs, settings, code or packages have moved on since it was made
    tampered           bytes are not what a record or dvc.lock says
    committed, not here  dvc.lock has it; the figure may be here, by git, but not what it was made from
    not run, refuted, no data, no reference

    --rerun N rebuilds N runs, picked at random, from their archives in a temporary folder and
    compares each artifact; what is the same is marked "proved by rerun".

    \b
    Exit code 0: every cell that has a reference is reproduced, and every byte is as its record and
    dvc.lock say. 1: a cell is not run, not here, stale or out of tolerance. 3: something was tampered
    with. With --by-hash, what is not here fails only where its committed hash is not the reference's.
    5: a rerun gave other bytes. 2: wrong usage or settings. (Of stages: 4 where another process
    works on it, 130 after Ctrl-C, 143 after SIGTERM.)
    """
    from hier.audit import verify as proofs
    from hier.audit.rerun import rerun_runs
    from hier.config.suite import load
    from hier.reporting.terminal.verify import as_json as in_json
    from hier.reporting.terminal.verify import print_proof, verdict

    suite = load()
    if update_expected:
        click.echo(
            f"wrote {proofs.update_expected(suite)}; the table is made anew by: snakemake --cores all"
        )
        return
    if rerun:
        rerun_runs(suite, rerun, seed, partial(click.echo, err=as_json))
    proof = proofs.prove(suite, deep)
    if as_json:
        click.echo(in_json(suite, proof))
    else:
        print_proof(proof)
    verdict(proof, by_hash)


@cli.command()
def adopt() -> None:
    """Enter results made by Snakemake (or by hand) into dvc.lock and DVC's cache.

    Each stage is adopted only where its record proves that its outputs follow from the present
    inputs, parameters and code; the first that is stale is named and nothing is adopted.
    """
    from hier.audit.adopt import adopt as adopt_all

    click.echo(adopt_all(click.echo))


@cli.command()
def restore() -> None:
    """After `dvc pull`, `dvc checkout` or cp: say what is current, as Snakemake will see it.

    Contents decide, whatever the files' times are; nothing is changed.
    """
    from hier.config.params import raw
    from hier.config.suite import load
    from hier.ledger.due import standings

    load()
    found = standings(raw())
    for name, reason in found.items():
        if reason:
            click.echo(f"{name} is stale: {reason}")
    stale = sum(reason is not None for reason in found.values())
    click.echo(f"{len(found) - stale} stages are current, {stale} are stale")


@cli.command()
@click.option(
    "--break-locks",
    is_flag=True,
    help="Free what another machine holds, too: you know that nothing works here there.",
)
def recover(break_locks: bool) -> None:
    """After a kill or a power cut: end orphaned stages, free stale locks, clear half-written files.

    `make reproduce` begins with this. Trainings go on from their last checkpoint. A lock of another
    machine is stale once it has not been renewed for ten minutes.
    """
    from hier.config.suite import load
    from hier.ledger.recover import recover as recover_all

    load()
    recover_all(click.echo, break_locks)


@cli.command()
@click.argument("asked", metavar="CELL|FILE")
@click.option("--full", is_flag=True, help="Of a table: the whole way of each run.")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything, hashes in full.")
@click.option("--dot", "as_dot", is_flag=True, help="A graph for graphviz.")
def trace(asked: str, full: bool, as_json: bool, as_dot: bool) -> None:
    """Show the way back from a number to the archive, weights, settings, code and machine.

    \b
    hier trace demo-hier-test_resnet-64-s0:R@1        a cell of the table
    hier trace demo-hier-test_resnet-64-s0            all figures of a run
    hier trace results/table.csv                      a table, an artifact, a record, an archive
    hier trace RUN --dot | dot -Tsvg > trace.svg

    Each file says whether its bytes are now those of its record, each step whether it is current.
    """
    from hier.audit.lineage import as_data
    from hier.audit.lineage import trace as trace_back
    from hier.reporting.terminal.lineage import dot, print_trace

    if as_json and as_dot:
        raise click.UsageError("--json and --dot exclude each other; give one")
    params = _params()
    is_cell = asked.partition(":")[0] in params["runs"]
    found = trace_back(asked if is_cell else _place().named(asked), params)
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    elif as_dot:
        click.echo(dot(found, full))
    else:
        print_trace(found, full)


@cli.command()
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything, hashes in full.")
@click.option("--page", is_flag=True, help="As a page, with both trainings' curves.")
@out_option
def diff(one: str, other: str, as_json: bool, page: bool, out: str | None) -> None:
    """Say what differs between two runs: inputs first, then settings, code, packages and machine.

    Outputs and figures come last. The exit code is 0 whether anything differs or not.
    """
    from hier.audit.run_diff import as_data, compare
    from hier.reporting.terminal.run_diff import print_comparison

    if out and not page:
        raise click.UsageError("--out goes with --page")
    found = compare(one, other, _params())
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    elif page:
        _say_written(_diff_page(found, _given(out)))
    else:
        print_comparison(found)


def _diff_page(found: Any, out: Path | None) -> Path:
    from hier.config.suite import load
    from hier.reporting.comparison_pages import OUT, compare_runs

    return compare_runs(load(), found, out or OUT)


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--out",
    show_default="results/crate",
    help="A folder, or a file that ends in .zip.",
)
@click.option("--with-models", is_flag=True, help="Models and embeddings, too (large).")
def export(runs: tuple[str, ...], out: str | None, with_models: bool) -> None:
    """Write results and where they come from as a Workflow Run RO-Crate.

    All runs and the tables, or only the runs named. Whoever opens the crate needs nothing of this
    project; its README.md says what is what. Images, and models without --with-models, are named by
    their hashes. What is stale or tampered with is refused.
    """
    from hier.audit.export import OUT
    from hier.audit.export import export as write_crate
    from hier.config.suite import load

    load()
    path, jobs = write_crate(_params(), runs, _given(out) or OUT, with_models)
    _say_written(path, f": {jobs} jobs")


def _place() -> Place:
    """Where the command was called."""
    place: Place = click.get_current_context().obj
    return place


def _given(path: str | None) -> Path | None:
    """A path that was given relative to the user's folder, from the root."""
    return _place().from_root(path) if path else None


def _say_written(path: Path, more: str = "") -> None:
    click.echo(f"wrote {_place().from_here(path)}{more}")


def _params() -> dict[str, Any]:
    """params.yaml as plain data, checked against the schema only where it looks wrong."""
    from hier.config.params import raw
    from hier.pipeline import jobs

    try:
        params = raw()
        list(jobs(params))
        params["suite"]  # which is in no job
    except (AttributeError, KeyError, TypeError):
        from hier.config.suite import load

        load()  # says which key it is
        raise
    return params


def _suite(overrides: tuple[str, ...]) -> Any:
    """The suite of params.yaml, or the one that overrides compose."""
    if overrides:
        from hier.config.compose import compose as compose_suite

        return compose_suite(overrides)
    from hier.config.suite import load

    return load()


def main() -> None:
    """Run the command line; one line and an exit code for whatever goes wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up, as after Ctrl-C
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
        see_to_a_home()
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
        _complain(
            f"error: this locale ({error.encoding}) cannot name the file {error.object}; set one of "
            "UTF-8, such as LC_ALL=C.UTF-8, and start again"
        )
        return 1
    except HierError as error:
        if debug:
            raise
        _complain(f"error: {error}{_seen_from()}")
        return error.exit_code


def _seen_from() -> str:
    """In another folder than the root: from where the paths and commands of a message are to be seen."""
    with suppress(NoProjectError):
        place = find_place()
        return "" if place.root == place.here else f" (seen from {place.root})"
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
