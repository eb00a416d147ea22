"""watch: how trainings go, while they do."""

import click

from hier.commands.common import command, composed, given


@command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--every", type=click.IntRange(1, 3600), metavar="SECONDS", default=5, show_default=True,
    help="Seconds from one look to the next.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="One look, as where the output is no terminal.")
@click.option(
    "--tensorboard", metavar="FOLDER", type=click.Path(),
    help="Add the epochs that are new to the event files in FOLDER/RUN, too.",
)  # fmt: skip
def watch(runs: tuple[str, ...], every: int, once: bool, tensorboard: str | None) -> None:
    """Show how trainings go: epochs so far, terms of the loss, recalls, and the loss as a small curve.

    \b
    hier watch                                  all runs of params.yaml
    hier watch demo-hier-test_resnet-64-s0 --every 2
    hier watch --tensorboard logs/tensorboard   for TensorBoard, too (needs: pip install tensorboard)

    Of a run in training it reads the newest checkpoint, written after each epoch and every ten minutes
    (HIER_CHECKPOINT_MINUTES), of a trained one history.csv. The numbers are means over the last whole
    epoch. Nothing is locked or changed. It ends when every run is trained, or by Ctrl-C.
    """
    from hier.errors import UnknownNameError
    from hier.jobs import jobs
    from hier.watching.watch import watch as watch_runs

    settings = composed()
    for name in runs:
        if name not in settings.runs:
            raise UnknownNameError("run", name, [*settings.runs])
    chosen = runs or [job.key for job in jobs(settings) if job.stage.name == "train"]
    epochs = {run: settings.select(f"runs.{run}.schedule.epochs") for run in chosen}
    watch_runs(epochs, None if once else every, given(tensorboard))
