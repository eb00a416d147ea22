# archive → images and index → image store


rule download:
    input:
        inputs("download"),
    output:
        directory(outputs("download")[0]),
    params:
        settings=settings("download"),
    shell:
        "hier download {wildcards.dataset}"


rule prepare:
    input:
        inputs("prepare"),
    output:
        outputs("prepare"),
    params:
        settings=settings("prepare"),
    shell:
        "hier prepare {wildcards.dataset}"
