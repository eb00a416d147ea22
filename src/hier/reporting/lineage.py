"""The way of a run's figures back to the archive, for its page (`_trace.html.j2`).

The page shows what does not vary from one run of the same work to the next: files and their hashes,
settings, code, packages, origins. Times and machines stand in the records (`hier trace RUN`).
"""

from hier.audit.audit import RecordAudit
from hier.audit.lineage import Input, trace
from hier.config.settings import Settings


def lineages(runs: list[str], settings: Settings) -> dict[str, Input]:
    """By run, the file of its figures with the step that made it, whose inputs are such files again."""
    audit, found = RecordAudit(settings), dict[str, Input]()
    for run in runs:
        way = trace(run, settings, audit)
        (file,) = way.made()
        found[run] = Input(file, way.start, way.steps[way.start], way.inputs())
    return found
