"""prepare: an archive's images as one store, and the table that says what each of them is."""

from pathlib import Path

from hier.config.suite import Suite
from hier.data.prepare import prepare
from hier.jobs import Job


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write data/<dataset>/index.parquet and images.npy."""
    archive, (index, store) = Path(job.inputs[0]), map(Path, job.outputs)
    prepare(suite.dataset(job.key), archive, index, store)
