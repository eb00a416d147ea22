"""Write a page for each command, docs/commands/<name>.md, from its `--help`: `python docs/commands.py`."""

from collections.abc import Iterator
from pathlib import Path

import click

from hier.cli import cli

FOLDER = Path(__file__).parent / "commands"
WIDTH = 100
# What to read beside the help of a command.
MORE = {
    "dataset-add": {"Your own photos": "../your-own-photos.md"},
    "compose": {"Suites and overrides": "../sweeps.md", "Table 1": "../table1.md"},
    "plan": {"Table 1 and its cost": "../table1.md", "Speed": "../speed.md"},
    "download": {"Where data come from": "../data.md"},
    "prepare": {"Where data come from": "../data.md", "A new layout": "../extending.md#a-dataset"},
    "train": {"Records, kills and locks": "../ledger.md", "GPUs": "../machines.md#gpus"},
    "embed": {"GPUs": "../machines.md#gpus"},
    "evaluate": {"A new measure": "../extending.md#a-measure", "Trees": "../hierarchy.md"},
    "views": {"The pages": "../pages.md"},
    "tabulate": {"Grades": "../grades.md"},
    "report": {"The pages": "../pages.md"},
    "watch": {"While training": "../pages.md#while-training"},
    "verify": {
        "Grades": "../grades.md",
        "Forgery": "../ledger.md#forgery",
        "Packages": "../using-a-model.md#proving-a-package",
    },
    "adopt": {"Snakemake and DVC together": "../ledger.md#snakemake-and-dvc-together"},
    "status": {"Snakemake and DVC together": "../ledger.md#snakemake-and-dvc-together"},
    "recover": {"Kills": "../ledger.md#kills", "Locks": "../ledger.md#locks"},
    "remote-check": {"Remotes": "../remotes.md"},
    "trace": {"A trace as printed": "../ledger.md#a-trace-as-printed"},
    "diff": {"The ledger": "../ledger.md"},
    "crate": {"The ledger": "../ledger.md"},
    "embed-images": {"Using a model": "../using-a-model.md#on-the-command-line"},
    "search": {"Using a model": "../using-a-model.md#on-the-command-line"},
    "package": {"Using a model": "../using-a-model.md#as-a-package"},
}


def pages() -> dict[str, str]:
    """Text of each page by its file's name; `index.md` holds the help of `hier` itself."""
    top = cli.make_context("hier", [], resilient_parsing=True, terminal_width=WIDTH)
    contexts = list(_contexts(cli, top))
    found = {f"{_file(context)}.md": _page(context) for context in contexts}
    rows = [
        f"| [`{c.command_path}`]({_file(c)}.md) | {_cell(c.command.get_short_help_str(WIDTH))} |"
        for c in contexts
    ]
    names = "\n".join(map(_file, contexts))
    found["index.md"] = (
        f"# Commands\n\n{_block(cli.get_help(top))}\n"
        + "\n".join(["| command | what it does |", "|---|---|", *rows])
        + "\n\nEach page holds what `hier COMMAND --help` prints. The exit codes are those of "
        "[`hier verify`](verify.md).\n" + f"\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )
    return found


def _contexts(group: click.Group, parent: click.Context) -> Iterator[click.Context]:
    """Of each command, those of a group in its place."""
    for name in group.list_commands(parent):
        command = group.commands[name]
        context = command.make_context(name, [], parent=parent, resilient_parsing=True)
        if isinstance(command, click.Group):
            yield from _contexts(command, context)
        else:
            yield context


def _file(context: click.Context) -> str:
    """`hier dataset add` has the page dataset-add.md."""
    return context.command_path.removeprefix("hier ").replace(" ", "-")


def _page(context: click.Context) -> str:
    links = [f"[{title}]({path})" for title, path in MORE.get(_file(context), {}).items()]
    more = f"\nMore: {', '.join(links)}. [All commands](index.md).\n"
    return f"# {context.command_path}\n\n{_block(context.command.get_help(context))}{more}"


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
