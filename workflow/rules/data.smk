# archive → images and index → image store


rule download:
    input:
        inputs("download"),
    output:
        directory(outputs("download")[0]),
    params:
        settings=settings("download"),
        force=force("download"),
    shell:
        "hier download {wildcards.dataset} {params.force}"


rule prepare:
    input:
        inputs("prepare"),
    output:
        outputs("prepare"),
    params:
        settings=settings("prepare"),
        force=force("prepare"),
    shell:
        "hier prepare {wildcards.dataset} {params.force}"
