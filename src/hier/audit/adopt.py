"""Enter into DVC what Snakemake made, once the records prove it current.

`dvc commit -f` alone would also adopt outputs made with other parameters or older code.
"""

from collections.abc import Callable
from pathlib import Path

from hier.audit.audit import Audit
from hier.config.params import raw
from hier.config.suite import load
from hier.dvc_view import DVC_YAML
from hier.errors import HierError, StaleError, TamperedError
from hier.files.hashing import hashing
from hier.git import refuse_conflicts
from hier.ledger.dvc_lock import AWAY, LOCK, Ledger
from hier.ledger.engines import call
from hier.pipeline import Job
from hier.project import LINKABLE


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
    if new := [finding.job.name for finding in findings if not finding.adopted]:
        say("entering what is new into dvc.lock and DVC's cache")
        _commit(new if away else [])
        _see_that_they_are_entered([f.job for f in findings if f.job.name in new])
    here = f"adopted {len(findings) - away} stages"
    return f"{here}; {away} more are {AWAY}" if away else f"{here}; `dvc status` agrees"


def _commit(names: list[str]) -> None:
    """Let DVC commit some jobs, or all where none is named; of what it cannot take, say what to do.

    Raises:
        HierError: DVC failed.
    """
    links = [name for name in LINKABLE if Path(name).is_symlink()]
    try:
        # All at once: DVC takes as long for one stage of a large dvc.yaml as for all. It refuses all
        # where one is not here.
        call("dvc", "commit", "--force", *names)
    except HierError as error:
        if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
            raise HierError(f"{error}; make one with: git init && git add --all") from error
        if links:
            raise HierError(
                f"{error}; DVC takes nothing from behind a link ({', '.join(links)}), so its ledger wants "
                "folders there. Snakemake, hier run and hier verify need no ledger"
            ) from error
        raise


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
