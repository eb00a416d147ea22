"""Enter into DVC what Snakemake made, once records prove it current.

`dvc commit -f` alone would also adopt outputs made with other parameters or older code.
"""

import subprocess
import sys

from hier.config.suite import load, raw
from hier.errors import HierError, StaleError
from hier.pipeline import jobs
from hier.provenance.record import why_stale


def adopt() -> int:
    """Check every job of params.yaml, then `dvc commit` them all; return how many there are.

    Raises:
        StaleError: a job's outputs are not proved current; names the job and the first reason.
        HierError: DVC failed.
    """
    load()
    params = raw()
    todo = list(jobs(params))
    for job in todo:
        if reason := why_stale(job, params):
            raise StaleError(
                f"{job.name} {reason}; nothing was adopted. Make it anew with: "
                f"rm -rf {' '.join(job.outputs)} && snakemake --cores all"
            )
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "commit", "--force", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HierError(f"dvc commit failed: {' '.join(done.stderr.split())}")
    return len(todo)
