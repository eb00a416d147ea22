"""profiles/slurm in dry runs; `make slurm` runs it on a cluster."""

import re

import pytest

from fakes.stub_project import NEED, asked, gpus_asked, on_machine_with, with_stub

pytest.importorskip("snakemake_executor_plugin_slurm", reason="the extra `slurm` is not installed")
pytestmark = pytest.mark.engines
SLURM = ("--profile", "profiles/slurm")


@pytest.fixture(scope="module")
def project(new_project):
    return with_stub(new_project("slurm"))


def test_the_cards_of_the_login_node_count_for_nothing(project):
    without = asked(project, 0, *SLURM)
    assert asked(project, 1, *SLURM) == without
    assert gpus_asked(project, 0, *SLURM) == NEED


def test_a_cluster_without_cards_is_asked_for_none(project):
    assert gpus_asked(project, 1, *SLURM, "--resources", "gpu=0") == dict.fromkeys(NEED, 0)


def test_the_stages_of_a_run_are_one_job_of_its_name(project):
    said = on_machine_with(project, 0, "--dry-run", "--forceall", *SLURM)
    groups = dict(re.findall(r"Group job (\S+) \(.*?\n(.*?)(?=\n\[|\Z)", said, re.DOTALL))
    assert set(groups) == {f"smoke-pa-test_resnet-16-s{seed}" for seed in range(4)}
    for run, text in groups.items():
        rules = re.findall(r"rule (\w+):.*?wildcards: run=(\S+)", text, re.DOTALL)
        assert rules == [(rule, run) for rule in ("embed", "evaluate", "train", "views")]
