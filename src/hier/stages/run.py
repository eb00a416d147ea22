"""Run stages as jobs: check params.yaml, call the stage's module, record what happened."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from itertools import groupby
from typing import Any

from hier.config.suite import load, raw
from hier.errors import HierError
from hier.pipeline import STAGES, Job, job, jobs
from hier.progress import progress
from hier.provenance.record import recorded, why_stale


def run_stage(name: str, key: str = "") -> None:
    """Run stage `name` for dataset or run `key` ('' for the suite's stages).

    Raises:
        HierError: whatever the user can mend; see hier.errors.
    """
    suite = load()
    if STAGES[name].each == "dataset":
        suite.dataset(key)
    elif STAGES[name].each == "run":
        suite.run(key)
    params = raw()
    work = job(name, key, params)
    module = import_module(f"hier.stages.{name}")
    with recorded(work, params) as identity:
        module.run(work, suite, identity)


def run_suite(processes: int) -> None:
    """Run every job of params.yaml that its record does not prove current, without an engine.

    Datasets come first, then the runs beside each other (the stages of one run in order), then the
    suite's stages. A failure stops what needs its result and nothing else.

    Raises:
        HierError: some job failed; names how many and the first.
    """
    load()
    failures: list[str] = []
    with (
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool,
        progress("jobs", len(list(jobs(raw())))) as shown,
    ):
        for chains in _phases(raw()):
            for done, failure in pool.map(_run_chain, chains):
                shown.update(done)
                failures += [failure] if failure else []
    if failures:
        raise HierError(f"{len(failures)} chains of jobs failed; the first: {failures[0]}")


def _phases(params: dict[str, Any]) -> Iterator[list[list[tuple[str, str]]]]:
    """Chains of (stage, key) that may run beside each other, phase by phase."""
    for _, phase in groupby(jobs(params), key=lambda job: job.stage.each):
        chains: dict[str, list[tuple[str, str]]] = {}
        for work in phase:
            chains.setdefault(work.key, []).append((work.stage.name, work.key))
        yield list(chains.values())


def _run_chain(chain: list[tuple[str, str]]) -> tuple[int, str | None]:
    """Run the jobs of one dataset or run in order; how many are current now, and what failed."""
    params = raw()
    for done, (name, key) in enumerate(chain):
        try:
            if not _current(job(name, key, params), params):
                run_stage(name, key)
        except HierError as error:
            return done, f"{name} {key}: {error}"
    return len(chain), None


def _current(work: Job, params: dict[str, Any]) -> bool:
    return work.record.exists() and why_stale(work, params) is None
