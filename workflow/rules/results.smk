# metrics → table → page
#
# What `snakemake --report report.zip` shows of it; the whole page is results/report/index.html.


rule tabulate:
    input:
        inputs("tabulate"),
    output:
        report(
            outputs("tabulate")[0],
            caption="../report/table.rst",
            category="Table",
            labels={"table": "every cell, graded"},
        ),
        outputs("tabulate")[1:],
    params:
        settings=settings("tabulate"),
        force=force("tabulate"),
    shell:
        "hier tabulate {params.force}"


rule report:
    input:
        inputs("report"),
    output:
        report(
            directory(outputs("report")[0]),
            patterns=["figures/{run}-{kind}.svg"],
            caption="../report/figures.rst",
            category="Runs",
            subcategory="{run}",
            labels={"run": "{run}", "figure": "{kind}"},
        ),
    params:
        settings=settings("report"),
        force=force("report"),
    shell:
        "hier report {params.force}"
