"""tabulate: all runs of the suite in one graded table."""

from pathlib import Path

from hier.config.suite import Suite
from hier.files.atomic import atomic_file, write_text
from hier.jobs import Job
from hier.results import paper, table
from hier.results.cells import graded_cells


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write to results/SUITE/ table.csv (one row per cell), table.md (one row per run) and
    paper_layout.{csv,md,tex} (the paper's layout, seeds together)."""
    csv, md, paper_csv, paper_md, paper_tex = map(Path, job.outputs)
    cells = graded_cells(suite)
    with atomic_file(csv) as temporary:
        cells.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
    write_text(md, table.markdown(cells, suite.suite))
    write_text(paper_csv, paper.csv(cells, suite.suite))
    write_text(paper_md, paper.markdown(cells, suite.suite))
    write_text(paper_tex, paper.latex(cells, suite.suite))
