# Views of hier.pipeline for the rules: inputs, outputs, code and parameters of a stage.
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))  # the code that lies beside the Snakefile

from hier.config.suite import load
from hier.errors import HierError
from hier.pipeline import STAGES, job, jobs, no_data
from hier.project import refuse_dead_links, refuse_foreign_code
from hier.ledger.due import let_be_replaced, standings, unsettled
from hier.files.hashing import files_in
from hier.ledger.locks import announce

try:
    refuse_foreign_code()
    refuse_dead_links()
    PARAMS = load().model_dump()
except HierError as error:  # a mistake in params.yaml ends here, in one line
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


onstart:
    announce("snakemake")


for _name in PARAMS["datasets"]:
    if no_data(_name).exists():
        print(f"without {_name}: {no_data(_name)} says why; hier download {_name} tries again", file=sys.stderr)


wildcard_constraints:
    dataset="[a-z0-9_]+",
    run="[a-z0-9_-]+",


def key_of(stage, wildcards):
    each = STAGES[stage].each
    return "" if each == "suite" else wildcards[each]


def files(paths):
    """Folders of code or tables as the files in them: Snakemake compares files, not folders."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from map(str, files_in(path))
        else:
            yield str(path)


@cache
def decided():
    """Names of the jobs that are stale, that the user forces, and that need not be asked.

    Snakemake decides by times alone (profiles/default). By contents, it is told to run what is stale,
    and to look at no time of what the others read.
    """
    if not workflow.is_main_process:  # a job that the main process, which decided, has sent away
        return set(), set(), set()
    rules = {rule.name for rule in workflow.dag.forcerules}
    forced = {
        work.name
        for work in jobs(PARAMS)
        if work.stage.name in rules or not workflow.dag.forcefiles.isdisjoint(work.outputs)
    }
    found = standings(PARAMS)
    to_ask = unsettled(PARAMS, found, forced)
    let_be_replaced(work for work in jobs(PARAMS) if work.name in to_ask)
    stale = {name for name, reason in found.items() if reason}
    return stale, forced, {work.name for work in jobs(PARAMS)} - to_ask


def inputs(stage):
    """The input function of a rule: what the stage reads, then the code that it runs."""

    def of(wildcards):
        work = job(stage, key_of(stage, wildcards), PARAMS)
        read = [*work.inputs, *files(STAGES[stage].versioned())]
        stale, _, settled = decided()
        if work.name in stale:
            workflow.dag.forcefiles.update(work.outputs)
        return [ancient(path) for path in read] if work.name in settled else read

    return of


def force(stage):
    """The option by which a stage works anew what Snakemake is told to force."""

    def of(wildcards):
        work = job(stage, key_of(stage, wildcards), PARAMS)
        return "--force" if work.name in decided()[1] else ""

    return of


def settings(stage):
    """The params function of a rule: a change in one of them makes the outputs stale."""

    def of(wildcards):
        work = job(stage, key_of(stage, wildcards), PARAMS)
        found = {}
        for key in work.params:
            value = PARAMS
            for part in key.split("."):
                value = value[part]
            found[key] = value
        return found

    return of


def outputs(stage):
    return list(STAGES[stage].outputs)


def outputs_of_suite():
    return [path for work in jobs(PARAMS) for path in work.outputs]
