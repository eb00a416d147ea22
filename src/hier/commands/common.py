"""What the commands share: the user's folder, and the settings that were composed."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hier.project import Place, at_root

if TYPE_CHECKING:
    from hier.config.settings import Settings
    from hier.config.suite import Suite


MIRRORS = "HIER_MIRROR"


class InProject(click.Command):
    """A command that works in the root of the user's project, whose subfolder it was called in."""

    def invoke(self, ctx: click.Context) -> Any:
        with at_root() as ctx.obj:
            here = ctx.obj.here
            if ctx.obj.root != here and os.environ.get(MIRRORS):  # may name folders in the user's
                from hier.data.fetch import mirrors_of_environment

                given = mirrors_of_environment()
                full = [m if "://" in m or m.startswith("~") else str(here / m) for m in given]
                os.environ[MIRRORS] = ",".join(full)
            return super().invoke(ctx)


command = partial(click.command, cls=InProject)


def place() -> Place:
    """Where the command was called."""
    found: Place = click.get_current_context().obj
    return found


def given(path: str | None) -> Path | None:
    """A path that was given relative to the user's folder, from the root."""
    return place().from_root(path) if path else None


def say_written(path: Path, more: str = "") -> None:
    click.echo(f"wrote {place().from_here(path)}{more}")


def composed() -> "Settings":
    """The settings of params.yaml, held against the schema only where they look wrong."""
    from hier.config.settings import Settings
    from hier.jobs import jobs

    settings = Settings.read()
    try:
        list(jobs(settings))
    except (AttributeError, KeyError, TypeError):
        settings.suite()  # says which key it is
        raise
    return settings


def composed_suites() -> "list[Suite]":
    """The suites of params.yaml, checked."""
    from hier.config.settings import Settings

    settings = Settings.read()
    return [settings.suite(name) for name in settings.suites]
