"""Git gives everyone the same bytes, which content keys are made of, whatever its settings are."""

import subprocess
from hashlib import sha1
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "autocrlf": ["core.autocrlf=true"],
    "eol": ["core.eol=crlf"],
    "both": ["core.autocrlf=true", "core.eol=crlf"],
    "input": ["core.autocrlf=input"],
}


def git(folder, *arguments):
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_clone_has_the_bytes_that_were_committed(tmp_path, settings):
    if not (ROOT / ".git").exists():
        pytest.skip("needs the project's git repository")
    given = [word for setting in settings for word in ("--config", setting)]
    attributes = tmp_path / "attributes"  # somebody's own, for all of their repositories
    attributes.write_text("* text=auto\n")
    git(tmp_path, "clone", "--quiet", *given, "--config", f"core.attributesFile={attributes}",
        str(ROOT), "clone")  # fmt: skip
    listed = git(tmp_path / "clone", "ls-files", "--stage", "-z").split("\0")
    entries = [entry.split("\t") for entry in listed if entry]
    assert len(entries) > 400
    other = []
    for (_, blob, _), name in ((about.split(), name) for about, name in entries):
        content = (tmp_path / "clone" / name).read_bytes()
        if sha1(b"blob %d\0" % len(content) + content).hexdigest() != blob:
            other.append(name)
    assert other == []


def test_git_would_commit_the_bytes_that_are_here(tmp_path):
    """No line ending is changed on the way in, so that what was hashed is what others get."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the project's git repository")
    git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", str(ROOT), "clone")
    git(tmp_path / "clone", "add", "--renormalize", ".")
    assert git(tmp_path / "clone", "status", "--porcelain") == ""
    (tmp_path / "clone/expected/other.csv").write_bytes(b"a,b\r\n1,2\r\n")
    git(tmp_path / "clone", "add", "expected/other.csv")
    there = git(tmp_path / "clone", "rev-parse", ":expected/other.csv").strip()
    assert there == sha1(b"blob 10\0a,b\r\n1,2\r\n").hexdigest()
