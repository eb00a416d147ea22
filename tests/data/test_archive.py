import io
import re
import stat
import tarfile
import zipfile

import pytest

from hier.config.dataset import Limits
from hier.data.archive import Budget, check, members, unpack
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
    path = make_tar(tmp_path / "a.tgz", [("a.txt", b"one"), special("b.txt", tarfile.SYMTYPE, "a.txt")])
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
        special("link", tarfile.SYMTYPE, "inside/../../outside"),
        special("link", tarfile.LNKTYPE, "../outside"),
        special("link", tarfile.LNKTYPE, "/etc/passwd"),
        special("link", tarfile.CHRTYPE),
        special("link", tarfile.BLKTYPE),
        special("link", tarfile.FIFOTYPE),
    ],
    ids=[
        "symlink up",
        "symlink absolute",
        "symlink down and up",
        "hard link up",
        "hard link absolute",
        "device",
        "block device",
        "pipe",
    ],
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


def test_a_chain_of_links_does_not_lead_out(tmp_path):
    """Each link looks harmless; together they would be `..` (CVE-2025-4330 and its like)."""
    down = special("down", tarfile.DIRTYPE)
    links = [("down/hop", "."), ("up", "down/hop/.."), ("out", "up/..")]
    members = [down, *(special(name, tarfile.SYMTYPE, target) for name, target in links)]
    path = make_tar(tmp_path / "a.tgz", [*members, ("out/evil.txt", b"evil")])
    with pytest.raises(ArchiveError, match="refused to unpack member 'up'"):
        unpack(path, tmp_path / "out")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_hard_link_to_what_is_not_there_is_refused(tmp_path):
    path = make_tar(tmp_path / "a.tgz", [special("again", tarfile.LNKTYPE, "now/big")])
    with pytest.raises(ArchiveError, match="'again': it links to a file that has not come"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out/again").exists()


def test_a_link_is_not_put_in_the_place_of_another(tmp_path):
    """Swapped under a file that came through it, it would leave a link to nothing that was paid for."""
    swap = [
        special("one", tarfile.DIRTYPE),
        special("now", tarfile.SYMTYPE, "one"),
        ("now/big", bytes(1000)),
        special("now", tarfile.SYMTYPE, "two"),
    ]
    path = make_tar(tmp_path / "a.tgz", swap)
    with pytest.raises(ArchiveError, match="refused to unpack member 'now': File exists"):
        unpack(path, tmp_path / "out")


def test_a_hard_link_is_its_file(tmp_path):
    members = [("a/one", b"1"), special("two", tarfile.LNKTYPE, "a/one")]
    unpack(make_tar(tmp_path / "a.tgz", members), tmp_path / "out")
    assert (tmp_path / "out/two").samefile(tmp_path / "out/a/one")


def test_modes_of_an_archive_are_not_taken(tmp_path):
    tool = special("tool", tarfile.REGTYPE)
    tool.mode = 0o4777
    unpack(make_tar(tmp_path / "a.tgz", [tool]), tmp_path / "out")
    assert (tmp_path / "out/tool").stat().st_mode & 0o7111 == 0


def test_sparse_files_are_refused(tmp_path):
    """Their map can make tarfile write more than their size."""
    sparse = tarfile.TarInfo("holes")
    sparse.pax_headers = {"GNU.sparse.map": "0,1000", "GNU.sparse.size": "1"}
    sparse.size = 1000
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(sparse, io.BytesIO(bytes(1000)))
    with pytest.raises(ArchiveError, match="'holes': it is a sparse file"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("make", [make_tar, make_zip])
class TestLimits:
    ENTRIES = [(f"top/{i}.txt", bytes(100)) for i in range(5)]

    def unpacked(self, tmp_path, make, budget, entries=ENTRIES, name="a"):
        path = make(tmp_path / f"{name}.{'tgz' if make is make_tar else 'zip'}", entries)
        unpack(path, tmp_path / "out", budget)

    def test_as_much_as_allowed(self, tmp_path, make):
        self.unpacked(tmp_path, make, Budget(Limits(files=5, bytes=500)))
        assert size_of(tmp_path / "out") == 500

    def test_one_file_too_many(self, tmp_path, make):
        with pytest.raises(ArchiveError, match=r"'top/4\.txt': with it, more files than the"):
            self.unpacked(tmp_path, make, Budget(Limits(files=4, bytes=500)))
        assert len(list((tmp_path / "out/top").iterdir())) == 4

    def test_one_byte_too_many(self, tmp_path, make):
        with pytest.raises(ArchiveError, match=r"'top/4\.txt': with it, more bytes than the"):
            self.unpacked(tmp_path, make, Budget(Limits(files=5, bytes=499)))
        assert size_of(tmp_path / "out") == 400

    def test_a_bomb_is_refused_before_it_is_written(self, tmp_path, make):
        bomb = [("zeros", bytes(5_000_000))]
        with pytest.raises(ArchiveError, match=r"a\.\w+: refused to unpack member 'zeros'"):
            self.unpacked(tmp_path, make, Budget(Limits(files=5, bytes=100_000)), bomb)
        assert list((tmp_path / "out").iterdir()) == []

    def test_empty_files_and_folders_count(self, tmp_path, make):
        top = special("top", tarfile.DIRTYPE) if make is make_tar else ("top/", b"")
        many = [top, ("top/a", b""), ("top/b", b"")]
        with pytest.raises(ArchiveError, match="more files"):
            self.unpacked(tmp_path, make, Budget(Limits(files=2, bytes=1)), many)

    def test_archives_share_a_budget(self, tmp_path, make):
        budget = Budget(Limits(files=9, bytes=10_000))
        self.unpacked(tmp_path, make, budget)
        with pytest.raises(ArchiveError, match=r"b\.\w+: .*'top/4\.txt': with it, more files"):
            self.unpacked(tmp_path, make, budget, name="b")


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_member_in_the_place_of_another_is_refused(tmp_path, make):
    path = make(tmp_path / f"a.{'tgz' if make is make_tar else 'zip'}", [("a", b""), ("a/b", b"")])
    with pytest.raises(ArchiveError, match=r"refused to unpack member 'a/b': (Not a dir|File ex)"):
        unpack(path, tmp_path / "out")


def lying_zip(path, declared):
    """A zip of a million zeros whose directory says that they are `declared` bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(1_000_000))
    true, lie = (1_000_000).to_bytes(4, "little"), declared.to_bytes(4, "little")
    assert path.read_bytes().count(true) == 2
    path.write_bytes(path.read_bytes().replace(true, lie))
    return path


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path):
    path = lying_zip(tmp_path / "a.zip", declared=10)
    with pytest.raises(ArchiveError, match="'zeros'"):
        unpack(path, tmp_path / "out", Budget(Limits(files=5, bytes=100_000)))
    assert size_of(tmp_path / "out") <= 10


def test_what_really_comes_out_of_a_zip_counts(tmp_path, monkeypatch):
    """Even where the reader believes the stream more than the directory."""
    make = zipfile.ZipExtFile.__init__

    def believing(self, *args, **kwargs):
        make(self, *args, **kwargs)
        self._left, self._expected_crc = 1 << 40, None

    monkeypatch.setattr(zipfile.ZipExtFile, "__init__", believing)
    path = lying_zip(tmp_path / "a.zip", declared=10)
    with pytest.raises(ArchiveError, match="'zeros': with it, more bytes"):
        unpack(path, tmp_path / "out", Budget(Limits(files=5, bytes=100_000)))
    assert size_of(tmp_path / "out") <= 100_000


def test_a_negative_size_gives_no_credit():
    budget = Budget(Limits(files=1, bytes=1))
    with pytest.raises(Exception, match="more bytes"):
        budget.spend(bytes=-5)
    assert budget.bytes == 1


def test_links_in_zips_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = make_zip(tmp_path / "a.zip", [(link, b"/etc/passwd")])
    with pytest.raises(ArchiveError, match="'link': it is a link or a device"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("read", [lambda path: list(members(path)), None], ids=["members", "unpack"])
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


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.xz", "a.zip"])
@pytest.mark.parametrize("read", [lambda path: list(members(path)), None], ids=["members", "unpack"])
def test_flipped_bits_are_found(tmp_path, name, read):
    """Any of the bits of the content: compressed tars and zips have checksums."""
    noise = bytes((i * i * 31 + i // 7) % 251 for i in range(5_000))
    modes = {"a.tgz": "w:gz", "a.tar.xz": "w:xz"}
    path = tmp_path / name
    entries = [("one.bin", noise)]
    make_zip(path, entries) if name == "a.zip" else make_tar(path, entries, modes[name])
    whole = path.read_bytes()
    for place in range(len(whole) // 4, len(whole) * 3 // 4, 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ArchiveError) as caught:
            read(path) if read else unpack(path, tmp_path / "out")
        assert str(path) in str(caught.value)


def test_damage_names_the_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("good.txt", b"good"), ("bad.txt", b"some content")])
    path.write_bytes(path.read_bytes().replace(b"some content", b"sOme content", 1))
    with pytest.raises(ArchiveError, match=r"bad\.txt"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not found", "damaged or cut short before its first member"),
        ("<html>not found</html>", "it is a web page, not an archive"),
    ],
)
def test_a_file_that_is_no_archive_is_clear(tmp_path, content, says):
    (tmp_path / "page.tgz").write_text(content)
    with pytest.raises(ArchiveError, match=rf"page\.tgz: {says}"):
        unpack(tmp_path / "page.tgz", tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a/b.txt", "a/b.txt"), ("a/b.txt", "a/./b.txt")])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_second_file_of_one_name_is_refused(tmp_path, make, names):
    path = tmp_path / ("a.tgz" if make is make_tar else "a.zip")
    make(path, [(names[0], b"one"), (names[1], b"two")])
    message = f"refused to unpack member '{names[1]}': it is the second file of that name"
    with pytest.raises(ArchiveError, match=re.escape(message)):
        unpack(path, tmp_path / "out")
    assert (tmp_path / "out/a/b.txt").read_bytes() == b"one"


def test_a_member_of_a_zip_without_a_name_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("a.txt", b"one"), (zipfile.ZipInfo(""), b"two")])
    with pytest.raises(ArchiveError) as caught:
        unpack(path, tmp_path / "out")
    assert str(caught.value) == (
        f"{path}: refused to unpack member '': it has no name; get the archive from another place"
    )
    assert [name for name, _ in members(path)] == ["a.txt"]


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_check_reads_the_list(tmp_path, make):
    path = tmp_path / ("a.tgz" if make is make_tar else "a.zip")
    noise = bytes((i * i * 31 + i // 7) % 251 for i in range(200_000))
    check(make(path, [("one.bin", noise)]))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ArchiveError, match=rf"{path.name}: damaged or cut short"):
        check(path)
