"""DVC remotes on an S3 server of this machine: two suites are pushed, damaged, cut off and repaired.

HIER_PUSH_KILLS=10 is the long form, `make remote-check`.
"""

import json
import os
import re
from contextlib import closing
from socket import socket

import pytest
import yaml

from fakes.s3 import BUCKET, ENVIRONMENT, s3
from fakes.two_suites import MS, PA, PAGES, make_two_suites

pytestmark = pytest.mark.engines

WHOLE = "whole"  # the remote that has everything and stays so
REPORT, MODEL = "results/smoke/report", f"runs/{PA}/model.safetensors"
EMBEDDINGS = f"runs/{MS}/embeddings.safetensors"
OF_GIT = re.compile(
    r"runs/[^/]+/(metrics\.json|classes\.csv|history\.csv)|results/[^/]+/[a-z_]+\.(csv|md|tex)"
)
KILLS = int(os.environ.get("HIER_PUSH_KILLS", "3"))
# Let `dvc push` kill itself when it has begun to send some files.
KILLED = """
import os, signal
from s3fs import S3FileSystem
put, begun = S3FileSystem._put_file, []
async def counted(self, *words, **named):
    begun.append(1)
    if len(begun) > AFTER:
        os.kill(os.getpid(), signal.SIGKILL)
    return await put(self, *words, **named)
S3FileSystem._put_file = counted
"""
# Let it send all but what the two reports share, as where the network fails for a moment.
FAILING = """
from s3fs import S3FileSystem
put = S3FileSystem._put_file
async def failing(self, path, *words, **named):
    if open(path, "rb").read(5) == b"page ":
        raise OSError("no network")
    return await put(self, path, *words, **named)
S3FileSystem._put_file = failing
"""


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with s3() as found:
            yield found


@pytest.fixture(scope="module")
def project(new_project, bucket):
    """Two suites with made-up results, entered, committed and pushed."""
    project = new_project("remotes")
    make_two_suites(project)
    use(project, WHOLE, bucket.url)
    project.run("dvc", "push")
    return project


@pytest.fixture
def damaged(project, bucket, request):
    """A remote of its own that has everything, for a test to damage, and the project that uses it."""
    name = request.node.name.replace("_", "-")
    bucket.copy(WHOLE, name)
    use(project, name, bucket.url)
    return name


def use(project, remote, url, more=""):
    """Let DVC's default remote be a folder of the bucket."""
    text = f"[core]\n    remote = {remote}\n['remote \"{remote}\"']\n    url = s3://{BUCKET}/{remote}\n"
    project.path(".dvc/config.local").write_text(f"{text}    endpointurl = {url}\n{more}")


def checked(project, *options):
    """The exit code of `hier remote check`, its lines, and the one line of its error."""
    done = project.run("hier", "remote", "check", *options, check=False)
    said = [line for line in done.stderr.splitlines() if " left]" not in line]  # but for progress
    assert len(said) == (1 if done.returncode else 0), done.stderr
    return done.returncode, done.stdout.splitlines(), "".join(said)


def outputs(project):
    """What dvc.lock names and DVC stores, by path."""
    stages = yaml.safe_load(project.path("dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    return {path: md5 for path, md5 in outs.items() if not OF_GIT.fullmatch(path)}


def all_of(number, remote):
    return f"{number} of {number} objects are whole in {remote} (s3://{BUCKET}/{remote})"


def needs_nothing(project):
    """A clone that pulled: every byte is in order, and neither engine would make anything."""
    done = project.run("hier", "verify", "--json")
    assert [found["jobs"] for found in json.loads(done.stdout)] == [[], []]
    said = project.run("snakemake", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr
    assert "up to date" in project.run("dvc", "status").stdout


def test_a_clone_of_what_was_pushed_needs_nothing(project, bucket, tmp_path):
    use(project, WHOLE, bucket.url)
    stored = bucket.objects(WHOLE)
    lists = [oid for oid in outputs(project).values() if oid.endswith(".dir")]
    assert len(lists) == 3  # an archive, two reports
    assert len(stored) == len({*outputs(project).values()}) + 1 + 2 + PAGES
    assert checked(project) == (0, [all_of(len(stored), WHOLE)], "")
    assert checked(project, "--deep") == (0, [all_of(len(stored), WHOLE)], "")
    clone = project.clone(tmp_path / "clone")
    use(clone, WHOLE, bucket.url)
    clone.run("dvc", "pull")
    needs_nothing(clone)


def test_a_push_that_was_killed_is_repaired(project, bucket, tmp_path):
    """At moments spread over what is sent; each time the remote is empty before."""
    stored = bucket.objects(WHOLE)
    for number in range(KILLS):
        remote = f"killed-{number}"
        use(project, remote, bucket.url)
        after = str(number * len(stored) // KILLS)
        done = project.run("dvc", "push", first=KILLED.replace("AFTER", after), check=False)
        assert done.returncode == -9
        assert len(bucket.objects(remote)) < len(stored)
        code, lines, _ = checked(project, "--repair")
        assert (code, lines[-1]) == (0, all_of(len(stored), remote))
        assert bucket.objects(remote) == stored
    clone = project.clone(tmp_path / "clone")
    use(clone, remote, bucket.url)
    clone.run("dvc", "pull")
    needs_nothing(clone)


def test_what_a_remote_lacks_is_named_before_a_pull_and_mended(project, bucket):
    """One bit, one object, and lists without their files: of two folders that share files which could not be
    sent, DVC sends the second one's list all the same, and believes it from then on."""
    use(project, "lacking", bucket.url)
    assert project.run("dvc", "push", first=FAILING, check=False).returncode == 1
    project.run("dvc", "push")
    assert project.run("dvc", "push").stdout.strip() == "Everything is up to date."
    outs, whole = outputs(project), bucket.objects(WHOLE)
    pages = {page["md5"] for page in json.loads(bucket.read("lacking", outs[REPORT]))}
    gone = pages - bucket.objects("lacking").keys()
    assert (len(pages), len(gone)) == (PAGES + 1, PAGES)
    bucket.flip("lacking", outs[MODEL])
    bucket.delete("lacking", outs[EMBEDDINGS])
    expected = dict.fromkeys({*gone, outs[EMBEDDINGS]}, "missing") | {outs[MODEL]: "damaged"}

    code, lines, error = checked(project)
    found = [re.fullmatch(r"(\S+) is (\w+), (\w+)", line).groups() for line in lines[:-1]]
    assert (code, {oid: state for _, state, oid in found}) == (3, expected)
    assert {path for path, _, oid in found if oid not in gone} == {MODEL, EMBEDDINGS}
    assert {path.rpartition("/")[2] for path, _, oid in found if oid in gone} == {
        f"{number}.html" for number in range(PAGES)
    }
    assert lines[-1].startswith(f"{len(whole) - PAGES - 2} of {len(whole)} objects are whole in lacking (")
    said = f"error: objects in lacking: {PAGES + 1} missing and 1 damaged; upload them anew with: "
    assert error == f"{said}hier remote check --repair"

    code, mended, _ = checked(project, "--repair")
    assert (code, mended[:-1]) == (0, [f"{line}: uploaded anew" for line in lines[:-1]])
    assert mended[-1] == all_of(len(whole), "lacking")
    assert bucket.objects("lacking") == whole


def test_what_verify_prints_of_pulled_damage_ends_in_order(project, bucket, damaged, tmp_path):
    """The clone first pulls as DVC does by itself, then with `verify = true`, then what was repaired."""
    oid = outputs(project)[MODEL]
    bucket.flip(damaged, oid)
    clone = project.clone(tmp_path / "clone")
    use(clone, damaged, bucket.url)
    clone.run("dvc", "pull")
    done = clone.run("hier", "verify", check=False)
    assert done.returncode == 3
    [removal] = re.findall("what came of them: (rm -rf .*); then bring whole ones: dvc pull", done.stderr)
    cached = f".dvc/cache/files/md5/{oid[:2]}/{oid[2:]}"
    assert removal.split() == ["rm", "-rf", MODEL, cached]
    assert checked(clone)[0] == 3  # as the advice says, see first what the remote has
    clone.run("bash", "-c", removal)
    use(clone, damaged, bucket.url, "    verify = true\n")
    assert clone.run("dvc", "pull", check=False).returncode != 0
    assert not clone.path(cached).exists()
    assert checked(project, "--repair")[0] == 0
    use(clone, damaged, bucket.url)
    clone.run("dvc", "pull")
    needs_nothing(clone)


def test_only_what_is_composed_counts_where_that_is_asked(project, bucket, damaged, tmp_path):
    outs = outputs(project)
    of_second = [path for path in outs if path.startswith("results/second/")]
    bucket.delete(damaged, outs["results/second/report"])
    assert len(of_second) == 3
    clone = project.clone(tmp_path / "clone")
    clone.run("hier", "compose", "suite=smoke")
    use(clone, damaged, bucket.url)
    code, lines, _ = checked(clone)
    assert (code, len(lines)) == (1, 3)
    assert (
        lines[1]
        == "results/second/report: its list is neither there nor here whole, so no file of it was looked at"
    )
    assert checked(clone, "--composed")[0] == 0
    code, lines, error = checked(clone, "--repair")
    assert code == 1
    assert lines[0].endswith(": DVC's cache does not have it here")
    assert "repair it from a clone whose cache has them whole" in error


def test_a_folder_is_a_remote_as_well(project, bucket, tmp_path):
    project.path(".dvc/config.local").write_text(
        f"[core]\n    remote = disk\n['remote \"disk\"']\n    url = {tmp_path}/disk\n"
    )
    number = len(bucket.objects(WHOLE))
    where = f"disk ({tmp_path}/disk)"
    says = f"error: remote disk: there is no folder {tmp_path}/disk; mount its disk, or let dvc push make it"
    assert checked(project, "--repair") == (1, [], says)
    (tmp_path / "disk").mkdir()
    assert checked(project)[1][-1] == f"0 of {number} objects are whole in {where}"
    assert checked(project, "--repair")[1][-1] == f"{number} of {number} objects are whole in {where}"
    assert "up to date" in project.run("dvc", "push").stdout


def test_what_cannot_be_used_is_one_line(project, bucket, monkeypatch):
    config = project.path(".dvc/config.local")
    use(project, WHOLE, bucket.url)
    assert checked(project, "--remote", "other") == (
        2, [], "error: unknown remote 'other'; choose from: whole"
    )  # fmt: skip
    with closing(socket()) as port:
        port.bind(("127.0.0.1", 0))  # and nobody listens
        use(project, WHOLE, f"http://127.0.0.1:{port.getsockname()[1]}")
        code, lines, error = checked(project)
    assert (code, lines) == (1, [])
    assert error.startswith(f"error: cannot use remote whole (s3://{BUCKET}/whole): ")
    use(project, WHOLE, bucket.url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    code, _, error = checked(project)
    assert (code, "redentials" in error) == (1, True)
    config.write_text(config.read_text().replace("[core]\n    remote = whole\n", ""))
    assert checked(project) == (2, [], "error: no remote is the default one; name it: --remote whole")
    config.unlink()
    assert checked(project) == (
        2, [], "error: there is no remote; add one with: dvc remote add --default NAME ADDRESS"
    )  # fmt: skip
