"""download: a dataset's archive, drawn or fetched, verified before it is used."""

from pathlib import Path

from hier.config.suite import Suite
from hier.data.download import download
from hier.jobs import Job


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write data/<dataset>/archive/."""
    download(suite.dataset(job.key), Path(job.outputs[0]))
