"""No metric loss: the network stays as it is at the start."""

from typing import Any

from hier.config.run import Loss, Run


class Settings(Loss):
    """There is nothing to set."""

    paper_name = "none"
    learns_proxies = False
    on_sphere = False

    def check(self, run: Run) -> None:
        if run.schedule.epochs:
            raise ValueError(f"schedule.epochs is {run.schedule.epochs}, but loss is none")


def build(settings: Settings, **_: Any) -> Any:
    raise ValueError("a run without a metric loss is not trained")
