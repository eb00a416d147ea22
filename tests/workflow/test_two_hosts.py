"""Two hosts in one folder, each with its own name, processes, boot and locks of files, as machines that
share a disk: the work of one is safe from the other."""

import time
from contextlib import contextmanager

import pytest

from fakes.toy_project import ToyProject

pytestmark = pytest.mark.engines

SNAKEMAKE = ("snakemake", "--cores", "2")
COOKING = ["cook@soup", "cook@stew"]
HALF = [".checkpoints/soup/k/.e1.pt.5.part", "runs/soup/.dish.txt.99.part", "runs/stew/.rest.7.part/peel"]
OWN = (".snakemake/log/", ".snakemake/iocache/", ".snakemake/auxiliary/", ".dvc/", "dvc.lock")
"""Where an engine that has nothing to do, or may not, writes all the same."""


@pytest.fixture
def project(tmp_path):
    return ToyProject(tmp_path, own_flock=True)


@contextmanager
def cooking(project, *command, jobs=COOKING, **of_process):
    """A command that is at work on the last of some jobs, as long as there is the file `simmer`."""
    project.path("simmer").touch()
    process = project.start(*command, **of_process)
    try:
        until(lambda: sorted(project.worked()[-len(jobs) :]) == jobs, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition, process):
    give_up = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.05)


def assert_kept(project, before):
    """Nothing that was there has gone, or changed by a byte or by its time; nothing was added."""
    after = project.files()
    assert before.items() <= after.items(), set(before.items()) - set(after.items())
    assert [name for name in after.keys() - before if not name.startswith(OWN)] == []


def test_what_one_host_works_on_the_other_leaves_alone(project):
    """Snakemake works on one; on the other there is what a user would try, until the first is dead."""
    with cooking(project, *SNAKEMAKE, host="nodea") as first:
        for name in HALF:
            project.path(name).parent.mkdir(parents=True, exist_ok=True)
            project.path(name).write_bytes(b"half")
        before, worked = project.files(), project.worked()
        assert any(name.startswith(".snakemake/locks/") for name in before)

        def refused(*command):
            done = project.run(*command, host="nodeb")
            assert_kept(project, before)
            assert project.worked() == worked
            assert first.poll() is None
            return done.returncode, done.stderr

        code, said = refused("hier", "recover")
        assert code == 4
        assert said.startswith("error: still at work here: cook@soup (process ")
        assert said.count(" on nodea since 2") == 3
        assert ", cook@stew (process " in said
        assert ", snakemake (process " in said
        assert said.endswith("if its machine is gone for good: hier recover --break-locks\n")
        assert said.count("\n") == 1

        code, said = refused(*SNAKEMAKE)
        assert code == 1
        assert "\nstill at work here: snakemake (process " in said
        assert " on nodea since 2" in said
        assert "Directory cannot be locked" in said

        code, said = refused("snakemake", "--unlock")
        assert code == 4
        assert "error: Snakemake's lock is not left over: still at work here: snakemake (process " in said

        assert refused("hier", "status")[0] == 0
        assert refused("hier", "cook", "soup")[0] == 4
        assert refused(*SNAKEMAKE, "--dry-run")[0] == 0

    project.path("simmer").unlink()
    before.pop("simmer")
    assert project.run("hier", "recover", host="nodeb").returncode == 4  # for ten minutes
    assert_kept(project, before)
    done = project.run("hier", "recover", "--break-locks", host="nodeb")
    assert (done.returncode, done.stderr) == (0, "")
    assert "taking snakemake from process " in done.stdout
    assert "removing the lock that a killed Snakemake left behind" in done.stdout
    assert not any(project.path(name).exists() for name in HALF)
    done = project.run(*SNAKEMAKE, host="nodeb")
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in project.run(*SNAKEMAKE, "--dry-run").stdout
    assert project.worked()[:4] == worked
    assert sorted(project.worked()[4:]) == [*COOKING, "serve@menu"]


def test_dvc_on_the_other_host_starts_nothing_that_snakemake_works_on(project):
    project.write_dvc_yaml()
    with cooking(project, *SNAKEMAKE, host="nodea") as first:
        before, worked = project.files(), project.worked()
        done = project.run("dvc", "repro", "--keep-going", host="nodeb")
        assert done.returncode != 0
        for job in COOKING:
            assert f"error: {job} is being worked on by process " in done.stderr
        assert done.stderr.count(" on nodea since 2") == 2
        assert project.worked() == worked
        assert first.poll() is None
        after = project.files()
        assert {name: of[1] for name, of in before.items()}.items() <= {
            n: of[1] for n, of in after.items()
        }.items()
        project.path("simmer").unlink()
        error = first.communicate(timeout=60)[1]
        assert first.returncode == 0, error
    assert project.worked() == [*worked, "serve@menu"]
    done = project.run("dvc", "repro", host="nodeb")
    assert done.returncode == 0, done.stderr
    assert project.worked() == [*worked, "serve@menu"]


def test_snakemake_waits_for_a_job_that_one_before_it_sent_to_a_cluster(project):
    """A job of Slurm outlives the Snakemake that sent it: a second one of it waits and then finds it done."""
    with cooking(project, "sh", "-c", "hier shop veg && hier chop veg && hier cook soup",
                 jobs=["cook@soup"], host="nodea", SLURM_JOB_ID="17") as orphan:  # fmt: skip
        project.path(".snakemake/locks").mkdir(parents=True)
        project.path(".snakemake/locks/0.output.lock").write_text("runs/soup/dish.txt\n")
        before = project.files()
        done = project.run("hier", "recover", host="nodeb")
        assert (done.returncode, done.stderr) == (0, "")
        first, *rest = done.stdout.splitlines()
        assert first.startswith("cook@soup goes on as Slurm job 17 on nodea since 2")
        assert rest == ["removing the lock that a killed Snakemake left behind"]
        before.pop(".snakemake/locks/0.output.lock")
        assert_kept(project, before)
        second = project.start(*SNAKEMAKE, host="nodeb")
        until(lambda: "cook@stew" in project.worked(), second)
        time.sleep(1.5)  # more than the pause between two looks
        assert orphan.poll() is second.poll() is None
        project.path("simmer").unlink()
        out, error = second.communicate(timeout=60)
        assert second.returncode == 0, error
        assert orphan.wait(60) == 0
    assert out.count("cook@soup: waiting for Slurm job 17 on nodea since 2") == 1
    assert "cook@soup: current, nothing to do" in out
    assert project.worked() == ["shop@veg", "chop@veg", *COOKING, "serve@menu"]
