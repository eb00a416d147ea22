# Views of hier.pipeline for the rules: inputs, outputs, code and parameters of a stage.
import sys
from pathlib import Path

from hier.config.suite import load
from hier.errors import HierError
from hier.pipeline import STAGES, job, jobs, no_data
from hier.provenance.hashing import files_in
from hier.provenance.holding import announce
from hier.provenance.restore import restore

try:
    PARAMS = load().model_dump()
except HierError as error:  # a mistake in params.yaml ends here, in one line
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

# Snakemake decides by times (profiles/default); before it looks, they are made to say what the
# contents say.
if workflow.is_main_process:
    restore(PARAMS)


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


def inputs(stage):
    """The input function of a rule: what the stage reads, then the code that it runs."""

    def of(wildcards):
        work = job(stage, key_of(stage, wildcards), PARAMS)
        return [*work.inputs, *files(STAGES[stage].versioned())]

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
