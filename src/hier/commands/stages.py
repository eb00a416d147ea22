"""The stages, one command each, and the pages beside the report."""

import click

from hier.commands.common import command, given, one_suite, place, say_written
from hier.pipeline import Stage

force_option = click.option(
    "--force", is_flag=True, envvar="HIER_FORCE", help="Work anew even where it is current."
)
out_option = click.option(
    "--out", metavar="FOLDER", help="Where such a page is written (results/SUITE/compare, …/times)."
)


def stage_command(stage: Stage) -> click.Command:
    """The command that runs one stage."""

    @command(stage.name, help=f"{stage.help}.")
    @click.argument(
        "key",
        metavar="[SUITE]" if stage.scope == "suite" else stage.scope.upper(),
        required=stage.scope != "suite",
    )
    @force_option
    def run(key: str | None, force: bool) -> None:
        from hier.ledger.run_job import run_stage

        run_stage(stage.name, key or "", force)

    return run


@command()
@click.argument("suite", required=False)
@force_option
@click.option(
    "--against",
    type=click.Path(exists=True),
    metavar="OTHER",
    help="Compare the table with another instead of making the report.",
)
@click.option("--times", is_flag=True, help="Show times and images per second instead.")
@out_option
def report(
    suite: str | None, force: bool, against: str | None, times: bool, out: str | None
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
    if out and not (times or against):
        raise click.UsageError("--out goes with --against or --times")
    if not (times or against):
        run_stage("report", suite or "", force)
        return
    chosen = one_suite(Settings.read(), suite)
    if times:
        from hier.reporting.standalone_pages import write_times

        say_written(write_times(chosen, given(out)))
    elif against:
        from hier.reporting.standalone_pages import compare_reports

        page, words = compare_reports(chosen, place().from_root(against), given(out))
        click.echo(words)
        say_written(page)
