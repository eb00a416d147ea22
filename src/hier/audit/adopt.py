"""Enter into DVC what Snakemake made, once the records prove it current.

`dvc commit -f` alone would also adopt outputs made with other parameters or older code.
"""

from collections.abc import Callable
from pathlib import Path

from hier.audit.audit import LedgerAudit
from hier.config.settings import Settings
from hier.dvc_view import DVC_YAML, why_unusable
from hier.errors import ConfigError, HierError, StaleError, TamperedError
from hier.files.hashing import hashing
from hier.git import refuse_conflicts
from hier.jobs import Job
from hier.ledger.dvc_lock import AWAY, LOCK, Ledger
from hier.ledger.locks import call
from hier.project import LINKABLE


def adopt(say: Callable[[str], None] = print) -> str:
    """Check every job of params.yaml, then `dvc commit` those that dvc.lock lacks; what was done.

    Raises:
        StaleError: a job's outputs are not proved current; names the job and the first reason.
        TamperedError: a job's outputs, its record or dvc.lock are not as they were written.
        ConfigError: dvc.yaml is not what `hier compose` writes; names the first such line.
        ConflictError: dvc.yaml, dvc.lock or an output has the marks of an unfinished merge.
        HierError: DVC failed, or left out what it was to enter.
    """
    refuse_conflicts([DVC_YAML])
    settings = Settings.read()
    findings = list(LedgerAudit(settings).findings())
    for finding in findings:
        if finding.status not in ("current", AWAY):
            kind = TamperedError if finding.status == "tampered" else StaleError
            raise kind(f"{finding.describe()}; nothing was adopted. Mend it with: {finding.mend}")
    for finding in findings:
        if finding.notice:
            say(f"note: {finding.job.name}: {finding.notice}")
    away = sum(finding.status == AWAY for finding in findings)
    if away == len(findings):
        return f"nothing to adopt: all {away} stages are {AWAY}"
    new = [finding.job for finding in findings if not finding.adopted]
    if new:
        if reason := why_unusable(settings):
            again = f"git checkout {DVC_YAML} (or {settings.compose_again})"
            raise ConfigError(f"{reason}; nothing was adopted. Bring it back with: {again}")
        say("entering what is new into dvc.lock and DVC's cache")
        _commit(new, by_name=bool(away))
    here = len(findings) - away
    done = f"nothing to adopt: {LOCK} has all {here} stages"
    if new:
        done = f"adopted {len(new)} stage{'' if len(new) == 1 else 's'}"
    had = f", {here - len(new)} had been before" if 0 < len(new) < here else ""
    return f"{done}{had}; {f'{away} more are {AWAY}' if away else '`dvc status` agrees'}"


def _commit(new: list[Job], by_name: bool) -> None:
    """Let DVC commit some jobs, `by_name` them alone; of what it cannot take, say what to do."""
    links = [name for name in LINKABLE if Path(name).is_symlink()]
    names = [job.dvc_name for job in new] if by_name else []
    try:
        # All at once: DVC takes as long for one stage of a large dvc.yaml as for all. It refuses all
        # where one is not here.
        call("dvc", "commit", "--force", *names)
    except HierError as error:
        if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
            raise HierError(f"{error}; make one with: git init && git add --all") from error
        if links:
            said = f"DVC takes nothing from behind a link ({', '.join(links)}), so it wants folders there"
            raise HierError(f"{error}; {said}. Snakemake and hier verify need no ledger") from error
        raise
    ledger = Ledger()
    with hashing() as hasher:
        for job in new:
            if not ledger.names(job, hasher):  # DVC says nothing of what is not in dvc.yaml
                raise HierError(
                    f"DVC did not enter {job.name} into {LOCK}; is it in {DVC_YAML}? "
                    f"Bring that back with: git checkout {DVC_YAML} (or hier compose)"
                )
