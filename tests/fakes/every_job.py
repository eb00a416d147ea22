"""Every job of params.yaml, several runs beside each other, without starting a process for each.

python -m fakes.every_job PROCESSES
"""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby

from hier.config.settings import Settings
from hier.jobs import jobs
from hier.ledger.run_job import run_stage


def main(processes: int, start: str = "spawn") -> None:
    """Datasets first, then the runs beside each other (the stages of one in order), then the suites.

    Args:
        start: "fork" where this process has imported what the others need, and done nothing with it.
    """
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(processes, context) as pool:
        for _, phase in groupby(jobs(Settings.read()), key=lambda job: job.stage.scope):
            chains = {}
            for job in phase:
                chains.setdefault(job.key, []).append(job.stage.name)
            list(pool.map(run_chain, chains, chains.values()))


def run_chain(key: str, stages: list[str]) -> None:
    for stage in stages:
        run_stage(stage, key)


if __name__ == "__main__":
    main(int(sys.argv[1]))
