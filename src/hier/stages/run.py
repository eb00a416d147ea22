"""Run one stage as a job: check params.yaml, call the stage's module, record what happened."""

from importlib import import_module

from hier.config.suite import load, raw
from hier.pipeline import STAGES, job
from hier.provenance.record import recorded


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
