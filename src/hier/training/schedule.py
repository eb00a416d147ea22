"""The schedule that a run is trained by."""

from hier.config.run import Run, Schedule


def schedule_in_force(run: Run) -> Schedule:
    """The run's schedule with the warm-up that its protocol takes: the script's or the advised."""
    advised = run.schedule.advised_warmup_epochs
    if advised is None or run.protocol.warmup_as_in_scripts:
        return run.schedule
    return run.schedule.model_copy(update={"warmup_epochs": advised})
