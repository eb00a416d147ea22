"""compose and plan: choose what to run, and see what it costs."""

import math
import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from hier.commands.common import command, composed_suites

if TYPE_CHECKING:
    from hier.config.suite import Suite

Words = tuple[str, ...]
KINDS = ("dataset", "method", "backbone")
SEVERAL = re.compile(r"suite=\[[^\]]*\]")


def filters(run: Callable[..., None]) -> Callable[..., None]:
    """The options that keep some of a suite's runs."""
    for name in reversed(KINDS):
        words = f"Only runs of this {name}; may be given several times."
        run = click.option(f"--{name}", multiple=True, help=words)(run)
    return run


@command()
@click.argument("overrides", nargs=-1)
@filters
@click.option("--check", is_flag=True, help="Write nothing; fail if some file would change.")
def compose(overrides: Words, check: bool, **chosen: Words) -> None:
    """Resolve suites into params.yaml, params/ and dvc.yaml.

    params.yaml names suites, datasets and runs; what each is set to stands in a file of its own below
    params/. Results of suites that are composed no longer stay, and count again once they are. dvc.lock gets
    the entries of the suites from results/SUITE/ledger.yaml (see: hier adopt --shelve), and gives them back.

    \b
    hier compose suite=grocery                        a suite of conf/suite/
    hier compose suite=[demo,omniglot]                two of them, side by side
    hier compose suite=demo methods=[pa,hier] seeds=[0,1,2]
    hier compose suite=table1 --dataset cub --backbone vit_small
    hier compose suite=table1 protocol=official       as the released code trains and measures
    hier compose suite=demo regularizer.weight=1.0    every run that has this setting and that it fits
    hier compose suite=demo 'runs.demo-hier-*.schedule.epochs=5'
    hier compose suite=demo 'sweep.regularizer.weight=[0.1,0.5]'   every run that has it, for each value
    """
    from hier.config.settings import Settings
    from hier.dvc_view import DVC_YAML, dvc_yaml
    from hier.errors import ConfigError, HierError
    from hier.files.atomic import write_texts
    from hier.ledger.shelf import take_down

    suites = _suites(overrides, chosen)
    settings = Settings.of(*suites)
    texts = settings.texts() | {DVC_YAML: dvc_yaml(settings)}
    there = {path: path.read_bytes() for path in texts if path.is_file()}
    changed = {path: text for path, text in texts.items() if there.get(path) != text.encode()}
    if check:
        for path in changed:
            raise ConfigError(f"{path} is not what `hier compose` gives; run it without --check")
        for path in settings.left_over():
            raise ConfigError(f"{path} is of no suite; run `hier compose` without --check")
    else:
        write_texts(changed)
        for path in settings.left_over():
            path.unlink()
        try:
            take_down(settings)
        except HierError as error:  # the ledger's own commands tell it as an error
            click.echo(f"note: {error}")
    for suite in suites:
        click.echo(f"suite {suite.suite}: {len(suite.runs)} runs on {', '.join(suite.datasets)}")


def _suites(overrides: Words, chosen: dict[str, Words]) -> "list[Suite]":
    """The suites that overrides compose (`suite=[a,b]` composes two), with their chosen runs."""
    from hier.config.compose import compose as compose_suite
    from hier.config.suite import filter_runs

    several = [text for text in overrides if SEVERAL.fullmatch(text)]
    rest = [text for text in overrides if text not in several]
    names = [name.strip() for text in several for name in text[len("suite=[") : -1].split(",")]
    each = [[f"suite={name}", *rest] for name in dict.fromkeys(names)] or [rest]
    return [filter_runs(compose_suite(own), **chosen) for own in each]


@command()
@click.argument("overrides", nargs=-1)
@filters
@click.option("--images-per-second", type=float, help="Rate of training, to estimate hours from.")
@click.option(
    "--measure", is_flag=True,
    help="Measure the rates on this machine (some seconds) and keep them for the next plan.",
)  # fmt: skip
def plan(overrides: Words, images_per_second: float | None, measure: bool, **chosen: Words) -> None:
    """Show the runs of params.yaml, or of the suite that OVERRIDES compose, and what they cost.

    Hours are shown where this machine's rates are kept from an earlier --measure (in
    ~/.cache/hier/throughput.json), or where one is given.

    \b
    hier plan suite=table1 --dataset cub --measure
    hier plan suite=table1 --images-per-second 1500
    hier plan suite=demo 'sweep.regularizer.weight=[0.1,0.5]'
    """
    from hier.config.suite import filter_runs
    from hier.errors import ConfigError
    from hier.planning.plan import show

    rate = images_per_second
    if rate is not None and not 0 < rate < math.inf:
        raise ConfigError(f"--images-per-second must be a number above 0 (given: {rate:g})")
    if overrides:
        suites = _suites(overrides, chosen)
    else:
        suites = [filter_runs(suite, **chosen) for suite in composed_suites()]
    for suite in suites:
        show(suite, rate, measure, _compose_first(suite.suite, overrides, chosen))


def _compose_first(suite: str, overrides: Words, chosen: dict[str, Words]) -> str:
    """The command that writes what a plan shows to params.yaml; '' where that is params.yaml's."""
    options = [f"--{kind}={name}" for kind in KINDS for name in chosen[kind]]
    if not overrides and not options:
        return ""
    words = overrides or (f"suite={suite}",)  # of params.yaml, whose other overrides are not known
    return shlex.join(["hier", "compose", *words, *options])
