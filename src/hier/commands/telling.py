"""trace, diff and crate: where a number is from, what differs, and all of it to pass on."""

import json

import click

from hier.commands.common import command, composed, given, place, say_written
from hier.commands.stages import out_option


@command()
@click.argument("asked", metavar="CELL|FILE")
@click.option("--full", is_flag=True, help="Of a table: the whole way of each run.")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything, hashes in full.")
@click.option("--dot", "as_dot", is_flag=True, help="A graph for graphviz.")
def trace(asked: str, full: bool, as_json: bool, as_dot: bool) -> None:
    """Show the way back from a number to the archive, weights, settings, code and machine.

    \b
    hier trace demo-hier-test_resnet-64-s0:R@1        a cell of the table
    hier trace demo-hier-test_resnet-64-s0            all figures of a run
    hier trace results/demo/table.csv                   a table, an artifact, a record, an archive
    hier trace RUN --dot | dot -Tsvg > trace.svg

    Each file says whether its bytes are now those of its record, each step whether it is current.
    """
    from hier.audit.lineage import as_data
    from hier.audit.lineage import trace as trace_back
    from hier.reporting.terminal.lineage import dot, print_trace

    if as_json and as_dot:
        raise click.UsageError("--json and --dot exclude each other; give one")
    settings = composed()
    is_cell = asked.partition(":")[0] in settings.runs
    found = trace_back(asked if is_cell else place().named(asked), settings)
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    elif as_dot:
        click.echo(dot(found, full))
    else:
        print_trace(found, full)


@command()
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
    found = compare(one, other, composed())
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    elif page:
        from hier.config.settings import Settings
        from hier.reporting.standalone_pages import compare_runs

        say_written(compare_runs(Settings.read().suite(), found, given(out)))
    else:
        print_comparison(found)


@command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--out", show_default="results/crate", help="A folder, or a file that ends in .zip.")
@click.option("--with-models", is_flag=True, help="Models and embeddings, too (large).")
def crate(runs: tuple[str, ...], out: str | None, with_models: bool) -> None:
    """Write results and where they come from as a Workflow Run RO-Crate.

    All runs and the tables, or only the runs named. Whoever opens the crate needs nothing of this
    project; its README.md says what is what. Images, and models without --with-models, are named by
    their hashes. What is stale or tampered with is refused.
    """
    from hier.audit.ro_crate import OUT, write_crate

    path, jobs = write_crate(composed(), runs, given(out) or OUT, with_models)
    say_written(path, f": {jobs} jobs")
