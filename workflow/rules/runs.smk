# image store → model → embeddings → metrics, once per run
from hier import gpus as cards

# As many GPU jobs at once as there are cards, unless --resources or a profile says otherwise. Which
# card is whose, each job sees to itself. Where there is none, a cluster's own scheduler decides.
if cards.number():
    workflow.global_resources.setdefault("gpu", cards.number())


def threads_of(wildcards):
    return PARAMS["runs"][wildcards.run]["runtime"]["threads"]


def gpus_of(wildcards):
    wants = PARAMS["runs"][wildcards.run]["runtime"]["device"] != "cpu"
    return int(wants and cards.number() > 0)


rule train:
    input:
        inputs("train"),
    output:
        outputs("train"),
    params:
        settings=settings("train"),
        force=force("train"),
    threads: threads_of
    resources:
        gpu=gpus_of,
    shell:
        "hier train {wildcards.run} {params.force}"


rule embed:
    input:
        inputs("embed"),
    output:
        outputs("embed"),
    params:
        settings=settings("embed"),
        force=force("embed"),
    threads: threads_of
    resources:
        gpu=gpus_of,
    shell:
        "hier embed {wildcards.run} {params.force}"


rule evaluate:
    input:
        inputs("evaluate"),
    output:
        outputs("evaluate"),
    params:
        settings=settings("evaluate"),
        force=force("evaluate"),
    threads: threads_of
    shell:
        "hier evaluate {wildcards.run} {params.force}"
