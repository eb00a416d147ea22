"""dataset add: one's own photos."""

import re
from pathlib import Path

import click

from hier.commands.common import InProject, given, place
from hier.errors import ConfigError

NAME = re.compile("[a-z0-9_]+")


@click.group(name="dataset")
def dataset() -> None:
    """Bring photos of your own."""


@dataset.command(cls=InProject)
@click.argument("folder", metavar="PATH", type=click.Path())
@click.option("--name", required=True, help="What dataset, recipe and suite are called (a-z, 0-9, _).")
@click.option(
    "--table", metavar="FILE", help="A CSV or Parquet file: columns path, label, and others (below)."
)
@click.option("--columns", metavar="NAME=COLUMN,…", help="Where it has other names: path=file,label=breed.")
@click.option(
    "--levels", metavar="NAME,…", help="Names of the levels, the class's first; of a table, columns."
)
@click.option(
    "--unseen",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of classes that training does not see.  [default: 0.5]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Which ones, drawn within super-classes.  [default: 0]"
)
@click.option("--split", metavar="FILE|COLUMN", help="What says the split: a column of the table, or a file.")
@click.option("--replace", is_flag=True, help="Take the photos of NAME as they are now.")  # fmt: skip
def add(
    folder: str, name: str, table: str | None, columns: str | None, levels: str | None, unseen: float | None,
    seed: int | None, split: str | None, replace: bool,
) -> None:  # fmt: skip
    """Look at the photos in PATH, and write a dataset, a recipe and a suite NAME to start from.

    \b
    hier dataset add ~/photos/shoes --name shoes              a folder for each class
    hier dataset add ~/photos --name shoes --table shoes.csv  a table of the photos
    hier compose suite=shoes && snakemake --cores all

    Folders: class/photo.jpg, or super-class/class/photo.jpg of any depth. Above them may stand train and
    test (or train, query and gallery). A table has the columns path (below PATH) and label, and where you
    like superclass, split, and crop (left top right bottom, in pixels).

    Training and test classes are disjoint: without a split, half of the classes are unseen. A split FILE has
    the columns split, and path or label. The photos stay where they are: their list (sha256sum's) is what the
    dataset is known by, and they are read in place only as long as they are the same.
    """
    from hier.adding.photos import Asked
    from hier.adding.write import add as write
    from hier.config.dataset import Unseen

    if not NAME.fullmatch(name):
        raise ConfigError(f"--name: '{name}' must be of a to z, 0 to 9 and _, such as shoes_2026")
    named = _columns(columns)
    split_file = given(split) if split and (table is None or Path(str(given(split))).is_file()) else None
    if split and split_file is None:
        named["split"] = split
    drawn = None
    if unseen is not None or seed is not None:
        drawn = Unseen(share=0.5 if unseen is None else unseen, seed=seed or 0)
    asked = Asked(
        name, _tidy(place().from_root(folder)), given(table), named,
        tuple(level.strip() for level in levels.split(",")) if levels else (), split_file, drawn,
    )  # fmt: skip
    found, chosen, paths = write(asked, replace)
    counts = found.dataset.counts
    sides = ", ".join(f"{number:,} {side}" for side, number in counts.images.items())
    click.echo(f"{len(found.index):,} photos in {asked.folder}: {sides}")
    drawn = found.dataset.unseen
    how = f"drawn by seed {drawn.seed}" if drawn else "as the data say"
    click.echo(f"{counts.train_classes} classes for training, {counts.test_classes} unseen, {how}")
    click.echo(f"levels: {', '.join(found.dataset.levels)}")
    for remark in found.remarks:
        click.echo(f"note: {remark}", err=True)
    for reason in () if replace else chosen.reasons:
        click.echo(f"chose {reason}")
    for path in paths:
        click.echo(f"wrote {place().from_here(path)}")
    click.echo(f"next: hier compose suite={name} && snakemake --cores all")


def _columns(text: str | None) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")] if text else []
    for key, _, column in pairs:
        if key.strip() not in ("path", "label", "split", "crop") or not column.strip():
            raise ConfigError(
                f"--columns: '{key}={column}' must be path=, label=, split= or crop=, and a column"
            )
    return {key.strip(): column.strip() for key, _, column in pairs}


def _tidy(folder: Path) -> Path:
    """The folder from the root where it is in the project, else in full."""
    full, root = folder.resolve(), Path.cwd().resolve()
    if root.is_relative_to(full):
        raise ConfigError(f"{folder} holds this project; name the folder of the photos")
    return full.relative_to(root) if full.is_relative_to(root) else full
