import io
import stat
import tarfile
import zipfile

import pytest

from hier.data.archive import members, unpack
from hier.errors import ArchiveError


def make_tar(path, entries, mode="w:gz"):
    """Entries: (name, bytes) or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                member = tarfile.TarInfo(entry[0])
                member.size = len(entry[1])
                tar.addfile(member, io.BytesIO(entry[1]))
    return path


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in entries:
            opened.writestr(name, content)
    return path


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")],
)
def test_tars_of_any_compression_are_unpacked(tmp_path, name, mode):
    path = make_tar(tmp_path / name, [("top/a.txt", b"one"), ("top/b/c.txt", b"two")], mode)
    unpack(path, tmp_path / "out")
    assert (tmp_path / "out/top/a.txt").read_bytes() == b"one"
    assert (tmp_path / "out/top/b/c.txt").read_bytes() == b"two"
    assert list(members(path)) == [("top/a.txt", b"one"), ("top/b/c.txt", b"two")]


def test_zips_are_unpacked(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("top/", b""), ("top/a.txt", b"one")])
    unpack(path, tmp_path / "out")
    assert (tmp_path / "out/top/a.txt").read_bytes() == b"one"
    assert list(members(path)) == [("top/a.txt", b"one")]


def test_a_link_inside_the_folder_is_kept(tmp_path):
    path = make_tar(
        tmp_path / "a.tgz", [("a.txt", b"one"), special("b.txt", tarfile.SYMTYPE, "a.txt")]
    )
    unpack(path, tmp_path / "out")
    assert (tmp_path / "out/b.txt").read_bytes() == b"one"


@pytest.mark.parametrize("name", ["../evil.txt", "top/../../evil.txt", "/evil.txt", "C:/evil.txt"])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_paths_that_leave_the_folder_are_refused(tmp_path, make, name):
    path = make(tmp_path / ("a.tgz" if make is make_tar else "a.zip"), [(name, b"evil")])
    with pytest.raises(ArchiveError) as caught:
        unpack(path, tmp_path / "deep/out")
    assert str(path) in str(caught.value)
    assert f"'{name}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "../../outside"),
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "../outside"),
        special("link", tarfile.CHRTYPE),
        special("link", tarfile.FIFOTYPE),
    ],
    ids=["symlink up", "symlink absolute", "hard link up", "device", "pipe"],
)
def test_links_out_and_devices_are_refused(tmp_path, member):
    path = make_tar(tmp_path / "a.tgz", [member])
    with pytest.raises(ArchiveError, match="refused to unpack member 'link'"):
        unpack(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_behind_a_link_out_is_not_written(tmp_path):
    (tmp_path / "outside").mkdir()
    escape = special("link", tarfile.SYMTYPE, "../outside")
    path = make_tar(tmp_path / "a.tgz", [escape, ("link/evil.txt", b"evil")])
    with pytest.raises(ArchiveError):
        unpack(path, tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def test_links_in_zips_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = make_zip(tmp_path / "a.zip", [(link, b"/etc/passwd")])
    with pytest.raises(ArchiveError, match="'link': it is a link or a device"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize(
    "read", [lambda path: list(members(path)), None], ids=["members", "unpack"]
)
@pytest.mark.parametrize("name", ["a.tgz", "a.tar", "a.tar.xz", "a.zip"])
def test_truncated_archives_are_clear(tmp_path, name, share, read):
    noise = bytes((i * i * 31 + i // 7) % 251 for i in range(200_000))
    entries = [("one.bin", noise), ("two.bin", noise[::-1])]
    modes = {"a.tgz": "w:gz", "a.tar": "w", "a.tar.xz": "w:xz"}
    path = tmp_path / name
    make_zip(path, entries) if name == "a.zip" else make_tar(path, entries, modes[name])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArchiveError) as caught:
        read(path) if read else unpack(path, tmp_path / "out")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_names_the_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("good.txt", b"good"), ("bad.txt", b"some content")])
    path.write_bytes(path.read_bytes().replace(b"some content", b"sOme content", 1))
    with pytest.raises(ArchiveError, match=r"bad\.txt"):
        unpack(path, tmp_path / "out")


def test_a_file_that_is_no_archive_is_clear(tmp_path):
    (tmp_path / "page.tgz").write_text("<html>not found</html>")
    with pytest.raises(
        ArchiveError, match=r"page\.tgz: damaged or cut short before its first member"
    ):
        unpack(tmp_path / "page.tgz", tmp_path / "out")
