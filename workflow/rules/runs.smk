# image store → model → embeddings → metrics, once per run


def threads_of(wildcards):
    return PARAMS["runs"][wildcards.run]["runtime"]["threads"]


def gpus_of(wildcards):
    wants = PARAMS["runs"][wildcards.run]["runtime"]["device"] != "cpu"
    return int(wants and Path("/proc/driver/nvidia/gpus").exists())


rule train:
    input:
        inputs("train"),
    output:
        outputs("train"),
    params:
        settings=settings("train"),
    threads: threads_of
    resources:
        gpu=gpus_of,
    shell:
        "hier train {wildcards.run}"


rule embed:
    input:
        inputs("embed"),
    output:
        outputs("embed"),
    params:
        settings=settings("embed"),
    threads: threads_of
    resources:
        gpu=gpus_of,
    shell:
        "hier embed {wildcards.run}"


rule evaluate:
    input:
        inputs("evaluate"),
    output:
        outputs("evaluate"),
    params:
        settings=settings("evaluate"),
    threads: threads_of
    shell:
        "hier evaluate {wildcards.run}"
