# One rule for each stage of hier.pipeline: archive → images → model → embeddings → metrics → table → page.
# As many GPU jobs at once as there are cards, unless --resources or a profile says otherwise. Which
# card is whose, each job sees to itself. Where there is none, a cluster's own scheduler decides.
if gpus.number():
    workflow.global_resources.setdefault("gpu", gpus.number())

# What `snakemake --report report.zip` shows; the whole page is results/SUITE/report/index.html.
SHOWN = {
    TABLE_CSV: dict(caption="../report/table.rst", category="Table", labels={"table": "every cell, graded"}),
    REPORT: dict(
        patterns=["figures/{run}-{kind}.svg"],
        caption="../report/figures.rst",
        category="Runs",
        subcategory="{run}",
        labels={"run": "{run}", "figure": "{kind}"},
    ),
}


def outputs(stage):
    """The outputs of a rule, with how a report of Snakemake's shows them."""
    for path in stage.outputs:
        made = directory(path) if stage.directory else path
        yield report(made, **SHOWN[path]) if path in SHOWN else made


for _stage in STAGES.values():

    rule:
        name:
            _stage.name
        input:
            inputs(_stage.name),
        output:
            *outputs(_stage),
        params:
            key="{%s}" % _stage.scope,
            settings=settings(_stage.name),
            force=force(_stage.name),
        threads: threads_of(_stage)
        resources:
            gpu=gpus_of(_stage),
        shell:
            "hier {rule} {params.key} {params.force}"
