"""Snakemake starts as many GPU jobs at once as there are cards, or as it is told; what a job asks for follows
from its settings, on any machine."""

import pytest

from fakes.stub_project import NEED, asked, gpus_asked, most_at_once, with_stub

pytestmark = pytest.mark.engines
LOCAL = ("--cores", "4")


@pytest.fixture(scope="module")
def project(new_project):
    return with_stub(new_project("gpus"))


@pytest.mark.parametrize(
    ("number", "options", "most"),
    [
        (1, [], 1),
        (2, [], 2),
        (2, ["--resources", "gpu=1"], 1),
        (1, ["--resources", "gpu=3"], 3),
        (0, [], 4),
    ],
)  # fmt: skip
def test_a_gpu_job_for_each_card(project, number, options, most):
    assert most_at_once(project, number, *options) == most


def test_a_dry_run_asks_for_the_same_on_every_machine(project):
    without = asked(project, 0, *LOCAL)
    assert asked(project, 1, *LOCAL) == without
    assert gpus_asked(project, 0, *LOCAL) == NEED
    # Evaluation and views stand beside each other in a run's job, whose nodes would add up to two.
    assert {rule for rule, resources in without if "nodes=1" in resources} == {"train", "embed"}
