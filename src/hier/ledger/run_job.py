"""Run stages as jobs: do nothing where the result is current, else work and record what happened."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hier.config.settings import Settings
from hier.errors import DamagedInputError, HierError, UnknownNameError
from hier.files.checkpoint_names import clear_checkpoints
from hier.files.hashing import Hasher, hashing
from hier.git import refuse_conflicts
from hier.jobs import Job, job, jobs, maker
from hier.kernels import choose_kernels
from hier.ledger.loaded_code import note_loaded
from hier.ledger.locks import forced_by_dvc, locked_job
from hier.ledger.output_cache import cache_outputs, restore_outputs
from hier.ledger.record import believed, changed_output, content_key, fingerprint, recorded, stale_reason
from hier.pipeline import STAGES
from hier.project import refuse_foreign_code

if TYPE_CHECKING:
    from hier.config.suite import Suite

SHORTAGE = re.compile("out of memory|can't allocate memory|not enough memory")
"""How torch says it."""


def run_stage(name: str, key: str = "", force: bool = False, wait: bool = False) -> None:
    """Run stage `name` for the dataset, run or suite `key` (if not given, the only one), unless it is
    current, which is seen without loading torch; by `force` even so, as where DVC was told to. `wait` lets it
    wait for whoever works on it. HierError is whatever the user can mend."""
    refuse_foreign_code()
    settings = Settings.read(only=key or None)
    scope = STAGES[name].scope
    try:
        known = [*getattr(settings, f"{scope}s")]
        key = key or (known[0] if len(known) == 1 else "")
        if key not in known:
            raise UnknownNameError(scope, key, known)
        work = job(name, key, settings)
    except (KeyError, TypeError, AttributeError):  # what an edit by hand broke, the schema tells
        settings.suite()
        raise
    with locked_job(work, wait):
        if not (force or forced_by_dvc()) and current(work):
            print(f"{work.name}: current, nothing to do", flush=True)
            return
        _work(work)


def current(work: Job) -> bool:
    """Whether a job's outputs are proved to be what it would make; brings back deleted ones."""
    record = believed(work)
    if record is None:
        return False
    with hashing() as hasher:
        if record["key"] != content_key(fingerprint(work, hasher)):
            return False
        return restore_outputs(work, record, hasher) and stale_reason(work, hasher) is None


def _work(work: Job) -> None:
    from importlib import import_module

    runtime = work.settings.runs.get(work.key, {}).get("runtime", {})  # of a dataset or suite, none
    choose_kernels(runtime.get("kernels", "portable"), runtime.get("threads", 1))
    with hashing() as hasher:  # before the wait for a card, in which the source may change
        note_loaded(hasher)
    suite = work.settings.suite(work.key if work.stage.scope == "suite" else None)
    refuse_conflicts(work.inputs)
    with _cause_is_clear(work), _gpu(work, suite), recorded(work) as content:
        import_module(f"hier.stages.{work.stage.name}").run(work, suite, content)
    if work.stage.name == "train":
        clear_checkpoints(work.key)
    with hashing() as hasher:
        cache_outputs(work, hasher)


@contextmanager
def _cause_is_clear(work: Job) -> Iterator[None]:
    """Say in one line that there is not enough memory, of the machine or of a GPU, or, where a stage
    stumbles, that an input is not the bytes that its record says."""
    try:
        yield
    except (HierError, OSError):
        raise
    except Exception as error:
        line = (str(error).splitlines() or ["no memory is left"])[0]
        of_torch = isinstance(error, RuntimeError) and SHORTAGE.search(line)
        if isinstance(error, MemoryError) or of_torch:
            raise HierError(
                f"{work.name}: there is not enough memory ({line}); make what it works on smaller: "
                "sampler.batch_size, embed.batch_size, augmentation.size, dataset.subset"
            ) from error
        with hashing() as hasher:
            path = _disowned_input(work, hasher)
        if path is None:
            raise
        reason = ValueError("it is not the bytes that its record says")
        raise DamagedInputError(path, maker(path), reason) from error


def _disowned_input(work: Job, hasher: Hasher) -> str | None:
    """The first input of a job that is not what the record of its maker says."""
    for made in jobs(work.settings):
        shared = [path for path in made.outputs if path in work.inputs]
        record = believed(made) if shared else None
        if record and (path := changed_output(shared, record, hasher)):
            return path
    return None


@contextmanager
def _gpu(work: Job, suite: "Suite") -> Iterator[None]:
    """Cards of its own for a job that works on GPUs; waited for while the old record still stands."""
    if not work.stage.gpu:
        yield
        return
    from hier.gpus import acquire_gpus

    with hashing() as hasher:  # an input that is missing is told before the wait
        fingerprint(work, hasher)
    runtime = suite.run(work.key).runtime
    with acquire_gpus(runtime, work.name, runtime.processes if work.stage.name == "train" else 1):
        yield
