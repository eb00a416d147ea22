# Views of hier.pipeline for the rules: inputs, outputs, code and parameters of a stage.
import os
import shutil
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))  # the code that lies beside the Snakefile

from snakemake.dag import DAG

from hier.config.settings import Settings
from hier import gpus
from hier.errors import HierError
from hier.jobs import job, jobs, no_data
from hier.pipeline import REPORT, STAGES, TABLE_CSV
from hier.planning.requests import Request, Requests
from hier.project import refuse_dead_links, refuse_foreign_code
from hier.ledger.due import let_be_replaced, make_as_young, stale_reasons, unsettled
from hier.files.hashing import files_in
from hier.ledger.locks import announce, heed_announced

for _folder in (Path(), Path(".snakemake")):
    if _folder.exists() and not os.access(_folder, os.W_OK):
        print(f"error: {_folder.absolute()} cannot be written to; Snakemake keeps its locks there: "
              "work in a copy, or make it writable", file=sys.stderr)
        sys.exit(1)

try:
    refuse_foreign_code()
    refuse_dead_links()
    SETTINGS = Settings.read()
    SUITE = SETTINGS.suite()
    if workflow.is_main_process:
        heed_announced("--unlock" in sys.argv)
except HierError as error:  # a mistake in params.yaml ends here, in one line
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

DAG.check_output_mtime = make_as_young  # instead of refusing, and deleting, outputs that are older than an input


onstart:
    if workflow.executor_plugin.name == "slurm":
        for _program in ("sbatch", "squeue", "sinfo"):  # the plugin would wait for ever for what they say
            if shutil.which(_program) is None:
                print(f"error: {_program} is not on the PATH; load Slurm here (module load slurm, on many "
                      "clusters), or work without it: snakemake --cores all", file=sys.stderr)
                sys.exit(2)
    announce("snakemake")


for _name in SETTINGS.datasets:
    if no_data(_name).exists():
        print(f"without {_name}: {no_data(_name)} says why; hier download {_name} tries again", file=sys.stderr)


wildcard_constraints:
    dataset="[a-z0-9_]+",
    run="[a-z0-9_-]+",
    suite="[a-z0-9_-]+",


def job_of(stage, wildcards):
    return job(stage, wildcards[STAGES[stage].scope], SETTINGS)


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
        for work in jobs(SETTINGS)
        if work.stage.name in rules or not workflow.dag.forcefiles.isdisjoint(work.outputs)
    }
    found = stale_reasons(SETTINGS)
    to_ask = unsettled(SETTINGS, found, forced)
    let_be_replaced(work for work in jobs(SETTINGS) if work.name in to_ask)
    stale = {name for name, reason in found.items() if reason}
    return stale, forced, {work.name for work in jobs(SETTINGS)} - to_ask


def inputs(stage):
    """The input function of a rule: what the stage reads, then the code that it runs."""

    def of(wildcards):
        work = job_of(stage, wildcards)
        read = [*work.inputs, *files(work.code_paths)]
        stale, _, settled = decided()
        if work.name in stale:
            workflow.dag.forcefiles.update(work.outputs)
        return [ancient(path) for path in read] if work.name in settled else read

    return of


def force(stage):
    """The option by which a stage works anew what Snakemake is told to force."""

    def of(wildcards):
        work = job_of(stage, wildcards)
        return "--force" if work.name in decided()[1] else ""

    return of


def settings(stage):
    """The params function of a rule: a change in one of them makes the outputs stale."""
    return lambda wildcards: job_of(stage, wildcards).params


@cache
def requests():
    """What jobs ask for. That a cluster has no GPUs, a profile says by `--resources gpu=0`."""
    at_most = workflow.global_resources.get("gpu").value  # None: not bounded
    return Requests(SUITE, gpus=at_most != 0)


def resources_of(stage):
    """The resources of a rule: what its jobs ask for, wherever they are asked (--resources bounds it)."""

    def asks(what):
        return lambda wildcards: getattr(requests().of(stage, wildcards[stage.scope]), what)

    found = {what: asks(what) for what in Request._fields}
    if stage.gpu:  # several cards are of one node; stages beside each other in one job would add up to two
        found["nodes"] = 1
    return found


def threads_of(stage):
    if stage.scope != "run":
        return 1
    return lambda wildcards: requests().threads(stage, wildcards.run)


def outputs_of_suite():
    return [path for work in jobs(SETTINGS) for path in work.outputs]
