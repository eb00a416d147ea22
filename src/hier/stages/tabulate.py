"""tabulate: all runs of the suite in one graded table."""

from pathlib import Path

from hier.config.suite import Suite
from hier.files.atomic import atomic_file, write_text
from hier.pipeline import Job
from hier.results import paper_table as layout
from hier.results import table
from hier.results.grades import verify_suite


def run(job: Job, suite: Suite, identity: str) -> None:
    """Write results/table.csv (one row per cell), results/table.md (one row per run) and
    results/paper_layout.{csv,md,tex} (the paper's layout, seeds together)."""
    csv, md, layout_csv, layout_md, layout_tex = map(Path, job.outputs)
    cells = verify_suite(suite)
    with atomic_file(csv) as temporary:
        cells.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
    write_text(md, table.markdown(cells, suite.suite))
    write_text(layout_csv, layout.csv(cells))
    write_text(layout_md, layout.markdown(cells))
    write_text(layout_tex, layout.latex(cells))
