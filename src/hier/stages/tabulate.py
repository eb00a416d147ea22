"""tabulate: all runs of the suite in one graded table."""

from pathlib import Path

import pandas as pd

from hier.config.suite import Suite
from hier.files.atomic import atomic_file, write_text
from hier.jobs import Job
from hier.pipeline import CLASSES
from hier.results import comparisons, paper, table
from hier.results.cells import graded_cells
from hier.results.classes import read_classes


def run(job: Job, suite: Suite, content_key: str) -> None:
    """Write to results/SUITE/ table.csv (one row per cell), table.md (one row per run),
    comparisons.csv (one row per pair of methods and measure) and paper_layout.{csv,md,tex} (the paper's
    layout, seeds together)."""
    csv, md, comparisons_csv, paper_csv, paper_md, paper_tex = map(Path, job.outputs)
    cells = graded_cells(suite)
    pairs = comparisons.compared(suite, cells, _classes(cells))
    with atomic_file(csv) as temporary:
        cells.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
    with atomic_file(comparisons_csv) as temporary:
        pairs.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    missing = [line for words in comparisons.left_out(suite, cells) for line in (words, "")]
    write_text(md, table.markdown(cells, suite.suite, [*comparisons.markdown(pairs), *missing]))
    write_text(paper_csv, paper.csv(cells, suite.suite))
    write_text(paper_md, paper.markdown(cells, suite.suite))
    write_text(paper_tex, paper.latex(cells, suite.suite))


def _classes(cells: pd.DataFrame) -> comparisons.Classes:
    """classes.csv of a run, by its name."""

    def of(run: str) -> pd.DataFrame:
        own = cells[cells["run"] == run]
        return read_classes(
            Path(CLASSES.format(run=run)), dict(zip(own["measure"], own["value"], strict=True))
        )

    return of
