"""verify, adopt, status and recover: what the ledger says, and how it is kept in order."""

import json
from functools import partial

import click

from hier.commands.common import InProject, command, composed, composed_suites, place


class OfGrades(InProject):
    """A command whose help says what each grade means."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from hier.results.grades import meanings

        self.help = str(self.help).replace("{grades}", "\n    ".join(meanings()))
        super().format_help_text(ctx, formatter)


@click.command(cls=OfGrades)
@click.argument("package", required=False, metavar="[DIR]")
@click.option("--deep", is_flag=True, help="Read every byte; trust no size, time or inode.")
@click.option("--rerun", type=click.IntRange(min=1), metavar="N", help="Rebuild N runs elsewhere.")
@click.option("--seed", default=0, show_default=True, help="Which runs --rerun picks.")
@click.option("--by-hash", is_flag=True, help="Judge what is not here by its committed hash.")
@click.option("--json", "as_json", is_flag=True, help="For machines: everything as JSON.")
@click.option(
    "--update-expected", is_flag=True,
    help="Record the present results as the expected ones (expected/<suite>.csv).",
)  # fmt: skip
def verify(
    package: str | None, deep: bool, rerun: int | None, seed: int, by_hash: bool, as_json: bool,
    update_expected: bool,
) -> None:  # fmt: skip
    """Grade every cell of the suite, and hold every byte against its record and dvc.lock.

    \b
    {grades}

    --rerun N rebuilds N runs, picked at random, from their archives in a temporary folder and
    compares each artifact; what is the same is marked "proved by rerun".

    DIR is what `hier package` wrote: its model is held against the record of the run, or dvc.lock,
    and each of its files against a package that is made anew.

    \b
    Exit code 0: every cell that has a reference is reproduced, and every byte is as its record and
    dvc.lock say. Else that of a grade above. With --by-hash, what is not here fails only where its
    committed hash is not the reference's. 2: wrong usage or settings. (Of stages: 4 where another
    process works on it, 130 after Ctrl-C, 143 after SIGTERM.)
    """
    if package:
        if deep or rerun or by_hash or as_json or update_expected:
            raise click.UsageError("DIR goes with no option")
        _verify_package(package)
        return
    from hier.audit import verify as audit
    from hier.audit.rerun import rerun_runs
    from hier.config.settings import Settings
    from hier.dvc_view import bring_up_to_date
    from hier.reporting.terminal.verify import as_data, print_report, verdict

    suites = composed_suites()
    if update_expected:
        for suite in suites:
            click.echo(f"wrote {audit.update_expected(suite, suites)}")
        bring_up_to_date(Settings.read())  # a table reads its suite's reference from when there is one
        click.echo("the tables are made anew by: snakemake --cores all")
        return
    if rerun:
        rerun_runs(Settings.read().suite(), rerun, seed, partial(click.echo, err=as_json))
    found = {suite.suite: audit.verify_all(suite, deep) for suite in suites}
    if as_json:
        data = [as_data(name, report) for name, report in found.items()]
        click.echo(json.dumps(data[0] if len(data) == 1 else data, indent=2, sort_keys=True))
    else:
        for name, report in found.items():
            if len(suites) > 1:
                click.echo(f"suite {name}")
            print_report(report)
    verdict([*found.values()], by_hash)


def _verify_package(package: str) -> None:
    """Prove a package, and say what is proved and what is not."""
    from hier.deployment.load import choose_portable_kernels

    choose_portable_kernels(1)
    from hier.deployment.proof import prove

    found = prove(place().from_root(package))
    click.echo(f"the model is that of {found.run}, by {found.witness}")
    click.echo(f"the same bytes when made anew: {', '.join(found.proved)}")
    for name, reason in found.unproved.items():
        click.echo(f"not proved: {name}: {reason}")


@command()
@click.option(
    "--shelve", is_flag=True,
    help="Write the suites' entries to results/SUITE/ledger.yaml, too: dvc.lock then has them only while the "
    "suite is composed.",
)  # fmt: skip
def adopt(shelve: bool) -> None:
    """Enter results made by Snakemake (or by hand) into dvc.lock and DVC's cache.

    Each stage is adopted only where its record proves that its outputs follow from the present
    inputs, parameters and code; the first that is stale is named and nothing is adopted.
    """
    from hier.audit.adopt import adopt as adopt_all
    from hier.ledger.dvc_lock import COMMITTED
    from hier.ledger.shelf import shelve as shelve_all

    click.echo(adopt_all(click.echo))
    changed = shelve_all(composed()) if shelve else []
    for path in changed:
        click.echo(f"wrote {path}")
    if changed:
        click.echo(f"commit what belongs together: git add {COMMITTED}")


@command()
def status() -> None:
    """After `dvc pull`, `dvc checkout` or cp: say what is current, as Snakemake will see it.

    Contents decide, whatever the files' times are; nothing is changed.
    """
    from collections import Counter

    from hier.audit.audit import LedgerAudit

    findings = list(LedgerAudit(composed()).findings())
    for finding in findings:
        if finding.reason and finding.status != "not run":
            click.echo(finding.describe())
    counts = {"current": 0, "stale": 0} | Counter(finding.status for finding in findings)
    said = ", ".join(f"{number} are {name}" for name, number in counts.items())
    click.echo(said.replace(" are", " stages are", 1))


@command()
@click.option(
    "--break-locks", is_flag=True,
    help="Free what another machine holds, too: you know that nothing works here there.",
)  # fmt: skip
def recover(break_locks: bool) -> None:
    """After a kill or a power cut: end orphaned stages, free stale locks, clear half-written files.

    `make reproduce` begins with this. Trainings go on from their last checkpoint. A lock of another
    machine is stale once it has not been renewed for ten minutes.
    """
    from hier.ledger.locks import recover as recover_all

    composed()
    recover_all(click.echo, break_locks)
