"""The one command, `hier`. What needs torch, pandas or Hydra is imported where it is used."""

import signal
import sys
from collections.abc import Callable
from typing import Any

import click

from hier import __version__

STAGE_HELP = {
    "download": "Draw or fetch DATASET's archive and verify it → data/DATASET/archive/",
    "prepare": "Unpack and check DATASET → data/DATASET/index.parquet, images.npy",
    "train": "Train RUN → runs/RUN/model.safetensors, proxies.safetensors, history.csv",
    "embed": "Embed the test images with RUN's model → runs/RUN/embeddings.safetensors",
    "evaluate": "Measure RUN's embeddings → runs/RUN/metrics.json",
    "tabulate": "Gather all runs of the suite in one graded table → results/table.csv, table.md",
    "report": "Make the page: table, training curves, settings → results/report/index.html",
}


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
    hier compose suite=demo         choose what to run (writes params.yaml and dvc.yaml)
    hier plan                       look at it
    snakemake --cores all           run it in parallel, or: dvc repro
    hier verify                     grade every cell against the recorded results

    Suites: demo (generated images, minutes), grocery (real photos), omniglot, smoke (seconds),
    table1 and table1-seeds (the paper's Table 1; needs GPUs), ablation-*. One
    stage by hand: hier train RUN, with the names that `hier plan` shows.
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
@click.option(
    "--check", is_flag=True, help="Write nothing; fail if params.yaml or dvc.yaml differ."
)
def compose(
    overrides: tuple[str, ...],
    dataset: tuple[str, ...],
    method: tuple[str, ...],
    backbone: tuple[str, ...],
    check: bool,
) -> None:
    """Resolve a suite into params.yaml and dvc.yaml.

    \b
    hier compose suite=grocery                        a suite of conf/suite/
    hier compose suite=demo methods=[pa,hier] seeds=[0,1,2]
    hier compose suite=table1 --dataset cub --backbone vit_small
    hier compose suite=demo regularizer.weight=1.0    every run that has this setting
    hier compose suite=demo 'runs.demo-hier-*.schedule.epochs=5'
    """
    from hier.config.compose import compose as compose_suite
    from hier.config.compose import render
    from hier.config.suite import PARAMS, only
    from hier.errors import ConfigError
    from hier.pipeline import DVC_YAML, dvc_yaml
    from hier.provenance.atomic import write_text

    suite = only(compose_suite(overrides), dataset=dataset, method=method, backbone=backbone)
    for path, text in ((PARAMS, render(suite)), (DVC_YAML, dvc_yaml(suite.model_dump()))):
        if path.exists() and path.read_text() == text:
            continue
        if check:
            raise ConfigError(f"{path} is not what `hier compose` gives; run it without --check")
        write_text(path, text)
    click.echo(f"suite {suite.suite}: {len(suite.runs)} runs on {', '.join(suite.datasets)}")


@cli.command()
@click.argument("overrides", nargs=-1)
@filters
@click.option("--images-per-second", type=float, help="Rate of training, to estimate hours from.")
@click.option("--measure", is_flag=True, help="Measure that rate on this machine (some seconds).")
def plan(
    overrides: tuple[str, ...],
    dataset: tuple[str, ...],
    method: tuple[str, ...],
    backbone: tuple[str, ...],
    images_per_second: float | None,
    measure: bool,
) -> None:
    """Show the runs of params.yaml, or of the suite that OVERRIDES compose, and what they cost.

    \b
    hier plan suite=table1 --dataset cub --measure
    hier plan suite=table1 --images-per-second 1500
    """
    from hier.config.suite import only
    from hier.errors import ConfigError
    from hier.reporting.plan import show

    if images_per_second is not None and images_per_second <= 0:
        raise ConfigError(f"--images-per-second must be above 0 (given: {images_per_second:g})")
    suite = only(_suite(overrides), dataset=dataset, method=method, backbone=backbone)
    show(suite, images_per_second, measure)


def _stage(name: str) -> None:
    """Add the command of one stage."""
    from hier.pipeline import STAGES

    each = STAGES[name].each

    def command(key: str = "") -> None:
        from hier.stages.run import run_stage

        run_stage(name, key)

    if each != "suite":
        command = click.argument("key", metavar=each.upper())(command)
    command.__doc__ = STAGE_HELP[name] + "."
    cli.command(name)(command)


for _name in STAGE_HELP:
    _stage(_name)


@cli.command()
@click.option("--jobs", default=1, show_default=True, help="Runs beside each other.")
def run(jobs: int) -> None:
    """Run everything in params.yaml that is not current, without Snakemake or DVC.

    For machines that have neither: one process for each of --jobs runs its stages in order. What a
    record proves current is not run again; both engines accept the results.
    """
    from hier.stages.run import run_suite

    run_suite(jobs)


@cli.command()
@click.option(
    "--update-expected",
    is_flag=True,
    help="Record the present results as the expected ones (expected/<suite>.csv).",
)
def verify(update_expected: bool) -> None:
    """Grade every cell of the suite: identical, within tolerance, out of tolerance, not run, no data.

    Exits with 1 where a cell was not run or is out of tolerance. A dataset that could not be had is
    named and is no failure. A run whose settings differ from
    the recorded ones has no reference and is not graded.
    """
    from hier.config.suite import load
    from hier.provenance.verify import record_expected, verify_suite
    from hier.reporting.table import print_grades

    suite = load()
    if update_expected:
        click.echo(f"wrote {record_expected(suite)}")
    cells = verify_suite(suite)
    print_grades(cells)
    failed = cells["grade"].isin(["not run", "out of tolerance"])
    if failed.any():
        from hier.errors import ReproductionError

        raise ReproductionError(
            f"{int(failed.sum())} of {len(cells)} cells are not reproduced; "
            "run what is missing with: snakemake --cores all"
        )


@cli.command()
def adopt() -> None:
    """Enter results made by Snakemake (or by hand) into dvc.lock and DVC's cache.

    Each stage is adopted only where its record proves that its outputs follow from the present
    inputs, parameters and code; the first that is stale is named and nothing is adopted.
    """
    from hier.provenance.adopt import adopt as adopt_all

    click.echo(f"adopted {adopt_all()} stages; `dvc status` agrees")


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
    debug = "--debug" in sys.argv[1:]
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted; nothing half-written was kept", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from hier.errors import HierError

        if debug or not isinstance(error, HierError):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
