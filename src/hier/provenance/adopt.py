"""Enter into DVC what Snakemake made, once the records prove it current.

`dvc commit -f` alone would also adopt outputs made with other parameters or older code.
"""

import subprocess
import sys
from collections.abc import Callable

from hier.config.params import raw
from hier.config.suite import load
from hier.errors import HierError, StaleError, TamperedError
from hier.provenance.audit import Audit


def adopt(say: Callable[[str], None] = print) -> int:
    """Check every job of params.yaml, then `dvc commit` those that dvc.lock lacks; how many there are.

    Raises:
        StaleError: a job's outputs are not proved current; names the job and the first reason.
        TamperedError: a job's outputs, its record or dvc.lock are not as they were written.
        HierError: DVC failed.
    """
    load()
    findings = list(Audit(raw()).findings())
    for finding in findings:
        if finding.standing == "current" or (finding.standing == "unpulled" and finding.adopted):
            continue
        mend = f"rm -rf {' '.join(finding.job.outputs)} && snakemake --cores all"
        kind = TamperedError if finding.standing == "tampered" else StaleError
        raise kind(f"{finding.in_words()}; nothing was adopted. Make it anew with: {mend}")
    if todo := [finding.job.name for finding in findings if not finding.adopted]:
        say(f"entering {len(todo)} stages into dvc.lock and DVC's cache")
        _commit()
    return len(findings)


def _commit() -> None:
    # All at once: DVC takes as long for one stage of a large dvc.yaml as for all.
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "commit", "--force", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HierError(f"dvc commit failed: {' '.join(done.stderr.split())}")
