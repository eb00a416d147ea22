"""Run stages as jobs: do nothing where the result is current, else work and record what happened."""

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hier.config.params import raw
from hier.errors import DamagedInputError, HierError, TamperedError, UnknownNameError
from hier.files.checkpoint_names import clear_checkpoints
from hier.files.hashing import Hasher, hashing
from hier.git import refuse_conflicts
from hier.ledger.loaded_code import note_loaded
from hier.ledger.locks import forced_by_dvc, held
from hier.ledger.output_cache import bring_back, keep
from hier.ledger.record import (
    changed_output,
    content_key,
    read_record,
    recorded,
    what_goes_in,
    why_stale,
)
from hier.pipeline import STAGES, Job, job, jobs, maker
from hier.project import refuse_foreign_code
from hier.terminal import show_everything

if TYPE_CHECKING:
    from hier.config.suite import Suite

SHORTAGE = re.compile("out of memory|can't allocate memory|not enough memory")
"""How torch says it."""


def run_stage(name: str, key: str = "", force: bool = False) -> None:
    """Run stage `name` for dataset or run `key` ('' for the suite's stages), unless it is current.

    A stage is current where its record's key is that of the present inputs, parameters, code and
    packages and its outputs are the record's; this is seen without loading torch.

    Args:
        force: work anew even so, as where DVC was told to.

    Raises:
        HierError: whatever the user can mend; see hier.errors.
    """
    refuse_foreign_code()
    params = raw(only=key or None)
    try:
        work = _job(name, key, params)
    except (KeyError, TypeError):  # whatever an edit by hand broke is told by the schema
        from hier.config.suite import load

        load()
        raise
    with held(work):
        if not (force or forced_by_dvc()) and current(work, params):
            print(f"{work.name}: current, nothing to do", flush=True)
            return
        _work(work, params)


def _job(name: str, key: str, params: dict[str, Any]) -> Job:
    each = STAGES[name].each
    if each != "suite" and key not in params[f"{each}s"]:
        raise UnknownNameError(each, key, list(params[f"{each}s"]))
    return job(name, key, params)


def current(work: Job, params: dict[str, Any]) -> bool:
    """Whether a job's outputs are proved to be what it would make; brings back deleted ones."""
    try:
        record = read_record(work)
    except TamperedError:
        return False
    if record is None:
        return False
    with hashing() as hasher:
        if record["key"] != content_key(what_goes_in(work, params, hasher)):
            return False
        return bring_back(work, record, hasher) and why_stale(work, params, hasher) is None


def _work(work: Job, params: dict[str, Any]) -> None:
    from importlib import import_module

    from hier.config.suite import load

    with hashing() as hasher:  # before the wait for a card, in which the source may change
        note_loaded(hasher)
    suite = load()
    refuse_conflicts(work.inputs)
    with (
        _cause_is_clear(work, params),
        _shortage_is_clear(work),
        _card(work, params, suite),
        recorded(work, params) as content,
    ):
        import_module(f"hier.stages.{work.stage.name}").run(work, suite, content)
    if work.stage.name == "train":
        clear_checkpoints(work.key)
    with hashing() as hasher:
        keep(work, hasher)


@contextmanager
def _cause_is_clear(work: Job, params: dict[str, Any]) -> Iterator[None]:
    """Where a stage stumbles and an input is not the bytes that its record says, say that in one line."""
    try:
        yield
    except (HierError, OSError):
        raise
    except Exception as error:
        with hashing() as hasher:
            path = _disowned_input(work, params, hasher)
        if path is None:
            raise
        reason = ValueError("it is not the bytes that its record says")
        raise DamagedInputError(path, maker(path), reason) from error


def _disowned_input(work: Job, params: dict[str, Any], hasher: Hasher) -> str | None:
    """The first input of a job that is not what the record of its maker says."""
    for made in jobs(params):
        shared = [path for path in made.outputs if path in work.inputs]
        with suppress(TamperedError):
            record = read_record(made) if shared else None
            if record and (path := changed_output(shared, record, hasher)):
                return path
    return None


@contextmanager
def _shortage_is_clear(work: Job) -> Iterator[None]:
    """Say in one line that there is not enough memory, of the machine or of a GPU."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        line = (str(error).splitlines() or ["no memory is left"])[0]
        if isinstance(error, RuntimeError) and not SHORTAGE.search(line):
            raise
        raise HierError(
            f"{work.name}: there is not enough memory ({line}); make what it works on smaller: "
            "sampler.batch_size, embed.batch_size, augmentation.size, dataset.subset"
        ) from error


@contextmanager
def _card(work: Job, params: dict[str, Any], suite: "Suite") -> Iterator[None]:
    """A card of its own for a job that works on a GPU.

    It is waited for while the old record, and what it vouches for, still stand.
    """
    if not work.stage.gpu:
        yield
        return
    from hier.gpus import own_card

    with hashing() as hasher:  # an input that is missing is told before the wait
        what_goes_in(work, params, hasher)
    with own_card(suite.run(work.key).runtime, work.name):
        yield


def run_suite(processes: int) -> None:
    """Run every job of params.yaml that its record does not prove current, without an engine.

    Datasets come first, then the runs beside each other (the stages of one run in order), then the
    suite's stages. A failure stops what needs its result and nothing else.

    Raises:
        HierError: some job failed; names how many and the first.
    """
    from hier.config.suite import load
    from hier.progress import progress

    refuse_foreign_code()
    load()
    failures: list[str] = []
    with (
        ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=show_everything
        ) as pool,
        progress("jobs", len(list(jobs(raw())))) as shown,
    ):
        try:
            for chains in _phases(raw()):
                for done, failure in pool.map(_run_chain, chains):
                    shown.update(done)
                    failures += [failure] if failure else []
        except BaseException:  # told to stop: so are the workers, which write a checkpoint first
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
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
        work = job(name, key, params)
        try:
            with held(work):
                if not current(work, params):
                    _work(work, params)
        except (HierError, OSError) as error:
            return done, f"{name} {key}: {error}"
    return len(chain), None
