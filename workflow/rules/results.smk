# metrics → table → page


rule tabulate:
    input:
        inputs("tabulate"),
    output:
        outputs("tabulate"),
    params:
        settings=settings("tabulate"),
    shell:
        "hier tabulate"


rule report:
    input:
        inputs("report"),
    output:
        directory(outputs("report")[0]),
    params:
        settings=settings("report"),
    shell:
        "hier report"
