"""tabulate: all runs of the suite in one graded table."""

from pathlib import Path

from hier.config.suite import Suite
from hier.pipeline import Job
from hier.provenance.atomic import atomic_file, write_text
from hier.provenance.verify import verify_suite
from hier.reporting.table import markdown


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write results/table.csv (one row per cell) and results/table.md (one row per run)."""
    csv, md = map(Path, job.outputs)
    cells = verify_suite(suite)
    with atomic_file(csv) as temporary:
        cells.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
    write_text(md, markdown(cells, suite.suite))
