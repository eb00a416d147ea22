"""Enter into DVC what Snakemake made, once the records prove it current.

`dvc commit -f` alone would also adopt outputs made with other parameters or older code.
"""

from collections.abc import Callable

from hier.config.params import raw
from hier.config.suite import load
from hier.dvc_view import DVC_YAML
from hier.errors import HierError, StaleError, TamperedError
from hier.git import refuse_conflicts
from hier.pipeline import Job
from hier.provenance.audit import Audit
from hier.provenance.hashing import hashing
from hier.provenance.ledger import AWAY, LOCK, Ledger
from hier.provenance.tools import call


def adopt(say: Callable[[str], None] = print) -> str:
    """Check every job of params.yaml, then `dvc commit` those that dvc.lock lacks; what was done.

    Raises:
        StaleError: a job's outputs are not proved current; names the job and the first reason.
        TamperedError: a job's outputs, its record or dvc.lock are not as they were written.
        ConflictError: dvc.yaml, dvc.lock or an output has the marks of an unfinished merge.
        HierError: DVC failed, or left out what it was to enter.
    """
    load()
    refuse_conflicts([DVC_YAML])
    findings = list(Audit(raw()).findings())
    for finding in findings:
        if finding.standing in ("current", AWAY):
            continue
        kind = TamperedError if finding.standing == "tampered" else StaleError
        raise kind(f"{finding.in_words()}; nothing was adopted. Mend it with: {finding.mend}")
    for finding in findings:
        if finding.notice:
            say(f"note: {finding.job.name}: {finding.notice}")
    away = sum(finding.standing == AWAY for finding in findings)
    if away == len(findings):
        return f"nothing to adopt: all {away} stages are {AWAY}"
    if any(not finding.adopted for finding in findings):
        say("entering what is new into dvc.lock and DVC's cache")
        # All at once: DVC takes as long for one stage of a large dvc.yaml as for all.
        call("dvc", "commit", "--force")
        _see_that_they_are_entered([f.job for f in findings if not f.adopted])
    here = f"adopted {len(findings) - away} stages"
    return f"{here}; {away} more are {AWAY}" if away else f"{here}; `dvc status` agrees"


def _see_that_they_are_entered(jobs: list[Job]) -> None:
    """DVC enters the stages of dvc.yaml, and of others says nothing."""
    ledger = Ledger()
    with hashing() as hasher:
        left = next((job for job in jobs if not ledger.names(job, hasher)), None)
    if left:
        raise HierError(
            f"DVC did not enter {left.name} into {LOCK}; is it in {DVC_YAML}? "
            f"Bring that back with: git checkout {DVC_YAML} (or hier compose)"
        )
