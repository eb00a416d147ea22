"""The stages, one command each, and the pages beside the report."""

import click

from hier.commands.common import command, given, place, say_written
from hier.pipeline import Stage

FORCE = "Work anew even where it is current."
force_option = click.option("--force", is_flag=True, envvar="HIER_FORCE", help=FORCE)
WAIT = "Wait for whoever works on it (as for a job of Slurm, PBS or LSF)."
wait_option = click.option("--wait", is_flag=True, envvar="HIER_WAIT", help=WAIT)
OUT = "Where such a page is written (results/SUITE/compare, …/times)."
out_option = click.option("--out", metavar="FOLDER", help=OUT)


def stage_command(stage: Stage) -> click.Command:
    """The command that runs one stage."""

    one = stage.scope != "suite"

    @command(stage.name, help=f"{stage.help}.")
    @click.argument("key", metavar=stage.scope.upper() if one else "[SUITE]", required=one)
    @force_option
    @wait_option
    def run(key: str | None, force: bool, wait: bool) -> None:
        from hier.ledger.run_job import run_stage

        run_stage(stage.name, key or "", force, wait)

    return run


@command()
@click.argument("suite", required=False)
@force_option
@wait_option
@click.option(
    "--against", type=click.Path(exists=True), metavar="OTHER",
    help="Compare the table with another instead of making the report.",
)  # fmt: skip
@click.option("--times", is_flag=True, help="Show times and images per second instead.")
@out_option
def report(
    suite: str | None, force: bool, wait: bool, against: str | None, times: bool, out: str | None
) -> None:
    """Make the pages: table, runs, hierarchies, neighbours → results/SUITE/report/index.html.

    \b
    Two more pages are no part of that report and made when asked for:
    --against OTHER    what moved since OTHER (a table.csv, a report, a folder of results, another copy
                       of this project), and whether by more than the seeds' spread
    --times            seconds, images per second, memory and machine of each run
    """
    from hier.config.settings import Settings
    from hier.ledger.run_job import run_stage

    if times and against:
        raise click.UsageError("--times and --against exclude each other; give one")
    if not (times or against):
        if out:
            raise click.UsageError("--out goes with --against or --times")
        run_stage("report", suite or "", force, wait)
        return
    settings = Settings.read()
    if suite is None and len(settings.suites) > 1:
        raise click.UsageError(f"name one of the suites with --suite: {', '.join(settings.suites)}")
    chosen = settings.suite(suite or next(iter(settings.suites), None))
    from hier.reporting.standalone_pages import compare_reports, write_times

    if against:
        page, words = compare_reports(chosen, place().from_root(against), given(out))
        click.echo(words)
    else:
        page = write_times(chosen, given(out))
    say_written(page)
