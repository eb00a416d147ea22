# The executor's view of the pipeline: what to run stands in params.yaml (hier compose writes it).
#
#   snakemake --cores all          run what is missing or stale
#   snakemake --cores all -n       say what that would be
#   snakemake --report report.zip  table, curves and hierarchies in one file to pass on
from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"

include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"


rule all:
    default_target: True
    input:
        outputs_of_suite(),
