"""Files of a dataset, from whichever place has them, verified before they are used."""

import errno
import hashlib
import io
import os
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest

from fakes.transfers import (
    GOOD,
    a_file,
    fetched,
    folder_with,
    listing,
    nothing_arrived,
    nothing_left,
    sha256,
)
from hier.config.dataset import File, Generate
from hier.data.download import download
from hier.data.fetch import contents_digest, fetch, mirrors_of_environment, places_of
from hier.errors import (
    ArchiveError,
    ChecksumError,
    ConfigError,
    DiskFullError,
    DownloadError,
    NoDataError,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("from_here_alone")


class TestFolders:
    def test_a_mirror_is_copied_not_linked(self, tmp_path, out):
        mirror = folder_with(tmp_path / "mirror", data_tgz=GOOD, other_txt=b"not asked for")
        download(fetched([a_file()], mirrors=[str(mirror)]), out)
        assert listing(out) == {"data.tgz": GOOD}
        assert (out / "data.tgz").stat().st_nlink == 1
        assert [path.name for path in out.parent.iterdir()] == ["archive"]

    def test_what_stood_there_is_replaced(self, tmp_path, out):
        folder_with(out, old_tgz=b"old")
        mirror = folder_with(tmp_path / "mirror", data_tgz=GOOD)
        download(fetched([a_file()], mirrors=[str(mirror)]), out)
        assert listing(out) == {"data.tgz": GOOD}

    def test_md5_is_a_proof_too(self, tmp_path, out):
        mirror = str(folder_with(tmp_path / "mirror", data_tgz=GOOD))
        right = hashlib.md5(GOOD).hexdigest()
        download(fetched([File(name="data.tgz", md5=right)], mirrors=[mirror]), out)
        assert listing(out) == {"data.tgz": GOOD}
        with pytest.raises(ChecksumError, match=rf"expected {'0' * 32}, found {right}"):
            download(fetched([File(name="data.tgz", md5="0" * 32)], mirrors=[mirror]), out)

    def test_order_environment_then_dataset(self, tmp_path, out, monkeypatch):
        names = ("environment", "first", "second")
        mirrors = [folder_with(tmp_path / name, data_tgz=name.encode()) for name in names]
        monkeypatch.setenv("HIER_MIRROR", str(mirrors[0]))
        for name, mirror in zip(names, mirrors, strict=True):
            file = a_file(content=name.encode())
            download(fetched([file], mirrors=[str(m) for m in mirrors[1:]]), out)
            assert listing(out) == {"data.tgz": name.encode()}
            (mirror / "data.tgz").unlink()

    def test_a_bad_copy_is_an_error_even_if_a_later_mirror_is_good(self, tmp_path, out):
        bad = folder_with(tmp_path / "bad", data_tgz=b"tampered")
        good = folder_with(tmp_path / "good", data_tgz=GOOD)
        with pytest.raises(ChecksumError) as caught:
            download(fetched([a_file()], mirrors=[str(bad), str(good)]), out)
        for part in ("data.tgz", sha256(GOOD), sha256(b"tampered"), str(bad)):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)
        assert nothing_left(out)

    def test_a_bad_copy_leaves_the_earlier_download(self, tmp_path, out):
        folder_with(out, data_tgz=GOOD)
        bad = folder_with(tmp_path / "bad", data_tgz=b"tampered")
        with pytest.raises(ChecksumError):
            download(fetched([a_file()], mirrors=[str(bad)]), out)
        assert listing(out) == {"data.tgz": GOOD}

    def test_the_second_source_where_the_first_is_incomplete(self, tmp_path, out):
        mirror = folder_with(tmp_path / "mirror", a_zip=b"a", c_zip=b"c", d_zip=b"d")
        first = [a_file("a.zip", b"a"), a_file("b.zip", b"b")]
        second = [a_file("c.zip", b"c"), a_file("d.zip", b"d")]
        download(fetched(first, second, mirrors=[str(mirror)]), out)
        assert listing(out) == {"c.zip": b"c", "d.zip": b"d"}

    def test_no_source_at_all(self, tmp_path, out):
        dataset = fetched([a_file("a.zip")], [a_file("b.zip"), a_file("c.zip")], mirrors=[str(tmp_path)])
        with pytest.raises(DownloadError) as caught:
            download(dataset, out)
        assert str(caught.value) == (
            "tiny: no source could be had. a.zip was looked for at "
            f"downloads/tiny/a.zip: no such file, {tmp_path}/a.zip: no such file; or "
            "b.zip was looked for at "
            f"downloads/tiny/b.zip: no such file, {tmp_path}/b.zip: no such file. "
            "Put a.zip, or b.zip and c.zip into downloads/tiny/ "
            "(or into another folder, and set HIER_MIRROR to it)"
        )
        assert nothing_left(out)

    def test_no_address_and_no_mirror(self, tmp_path):
        with pytest.raises(NoDataError, match=r"a\.zip was looked for at nowhere: it has no addr"):
            fetch(a_file("a.zip"), tmp_path / "out", [], tmp_path / "parts")
        assert nothing_arrived(tmp_path)

    def test_by_hand(self, tmp_path, out):
        """The message says how; what is put there is found, before the dataset's mirrors."""
        word = "Ask the authors\nfor the password."
        mirror = folder_with(tmp_path / "mirror", b_zip=b"other")
        dataset = fetched([a_file("a.zip"), a_file("b.zip")], mirrors=[str(mirror)], by_hand=word)
        with pytest.raises(NoDataError) as caught:
            download(dataset, out)
        message = str(caught.value)
        assert message.endswith(
            "Ask the authors for the password. Put a.zip and b.zip into downloads/tiny/ "
            "(or into another folder, and set HIER_MIRROR to it)"
        )
        assert "\n" not in message
        no_data = out.parent / "no-data.txt"
        assert no_data.read_text() == f"{message}\n"
        folder_with(tmp_path / "downloads/tiny", a_zip=GOOD, b_zip=GOOD)
        download(dataset, out)
        assert listing(out) == {"a.zip": GOOD, "b.zip": GOOD}
        assert listing(tmp_path / "downloads/tiny") == {"a.zip": GOOD, "b.zip": GOOD}
        assert not no_data.exists()

    def test_an_old_word_that_there_is_no_data_goes_before_another_failure(self, tmp_path, out):
        folder_with(out.parent, **{"no-data_txt": b"old"})
        bad = folder_with(tmp_path / "bad", data_tgz=b"tampered")
        with pytest.raises(ChecksumError):
            download(fetched([a_file()], mirrors=[str(bad)]), out)
        assert list(out.parent.iterdir()) == []

    def test_unproved_files_are_taken_and_said(self, tmp_path, out, capsys):
        mirror = folder_with(tmp_path / "mirror", data_txt=b"whatever")
        file = File(name="data.txt", unproved="the authors publish no checksum")
        download(fetched([file], mirrors=[str(mirror)]), out)
        assert listing(out) == {"data.txt": b"whatever"}
        said = "data.txt is taken without a checksum: the authors publish no checksum\n"
        assert capsys.readouterr().err == said

    @pytest.mark.parametrize("name", ["img.zip", "img.tgz"])
    def test_unproved_archives_are_opened(self, tmp_path, out, name):
        hand = folder_with(tmp_path / "downloads/tiny")
        with tarfile.open(hand / "img.tgz", "w:gz") as tar:
            tar.add(ROOT / "README.md", "README.md")
        with zipfile.ZipFile(hand / "img.zip", "w") as opened:
            opened.write(ROOT / "README.md", "README.md")
        dataset = fetched([File(name=name, unproved="none")])
        whole = (hand / name).read_bytes()
        download(dataset, out)
        assert listing(out) == {name: whole}
        (hand / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ArchiveError) as caught:
            download(dataset, out)
        text = str(caught.value)
        assert text.startswith(f"{name} from downloads/tiny/{name}: damaged or cut short")
        assert text.endswith(f"; nothing was kept; replace downloads/tiny/{name}")
        assert listing(out) == {name: whole}  # the earlier one

    @pytest.mark.parametrize(
        ("make", "what"),
        [
            (Path.mkdir, "a folder, not a file"),
            (lambda path: path.symlink_to("nowhere"), "a link to a file that is not there"),
            (os.mkfifo, "not a regular file"),
        ],
        ids=["folder", "broken link", "pipe"],
    )
    def test_what_is_no_file_is_named(self, tmp_path, out, make, what):
        folder_with(tmp_path / "downloads/tiny")
        make(tmp_path / "downloads/tiny/data.tgz")
        with pytest.raises(NoDataError, match=rf"downloads/tiny/data\.tgz: {what}"):
            download(fetched([a_file()]), out)

    def test_a_bad_copy_says_what_to_do_first(self, tmp_path, out):
        folder_with(tmp_path / "downloads/tiny", data_tgz=b"tampered")
        with pytest.raises(ChecksumError) as caught:
            download(fetched([a_file()]), out)
        text = str(caught.value)
        assert text.startswith("data.tgz from downloads/tiny/data.tgz: expected ")
        assert text.index("Replace that copy") < text.index("correct the checksum")
        assert text.endswith("only where you are sure that it is right, correct the checksum in conf/ "
                             "and compose again")  # fmt: skip

    def test_a_part_is_never_taken_for_whole(self, tmp_path, out):
        folder_with(tmp_path / "downloads/tiny").joinpath("data.tgz.part").write_bytes(GOOD)
        with pytest.raises(NoDataError):
            download(fetched([a_file()]), out)
        assert nothing_left(out)

    def test_fetch_leaves_no_unproved_bytes_under_the_files_name(self, tmp_path, monkeypatch):
        """Its folder may be no temporary one: even a kill must not leave half a file there."""
        seen = []
        monkeypatch.setattr(
            "hier.data.fetch._verify",
            lambda *_: seen.extend(path.name for path in (tmp_path / "weights").iterdir()),
        )
        mirror = folder_with(tmp_path / "mirror", data_tgz=GOOD)
        places = places_of(a_file(), [str(mirror)])
        fetch(a_file(), tmp_path / "weights", places, tmp_path / "parts")
        assert len(seen) == 1
        assert seen[0].startswith(".data.tgz.")
        assert listing(tmp_path / "weights") == {"data.tgz": GOOD}

    @pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
    def test_interruption_and_full_disk_leave_nothing(self, tmp_path, out, monkeypatch, failure):
        def stop(path, *args):
            assert path.exists()
            raise failure

        monkeypatch.setattr("hier.data.fetch._verify", stop)
        mirror = folder_with(tmp_path / "mirror", data_tgz=GOOD)
        expected = DiskFullError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            download(fetched([a_file()], mirrors=[str(mirror)]), out)
        assert nothing_left(out)


class TestAddresses:
    def test_canonical_address(self, server, out):
        served, url, requests = server
        content = GOOD * 200_000  # several chunks
        folder_with(served, remote_bin=content)
        download(fetched([a_file(content=content, url=f"{url}/remote.bin")]), out)
        assert listing(out) == {"data.tgz": content}
        assert requests == ["/remote.bin"]

    def test_mirrors_come_before_the_canonical_address(self, server, out):
        served, url, requests = server
        folder_with(served / "mirror", data_tgz=GOOD)
        file = a_file(url=f"{url}/data.tgz")
        download(fetched([file], mirrors=[f"{url}/empty/", f"{url}/mirror"]), out)
        assert listing(out) == {"data.tgz": GOOD}
        assert [r for r in requests if r.startswith("/")][-1] == "/mirror/data.tgz"
        assert "/data.tgz" not in requests

    def test_a_bad_copy_names_the_address(self, server, out):
        served, url, _ = server
        folder_with(served, data_tgz=b"moved")
        with pytest.raises(ChecksumError, match=rf"data\.tgz from {url}/data\.tgz: expected"):
            download(fetched([a_file(url=f"{url}/data.tgz")]), out)
        assert nothing_left(out)

    def test_not_found_and_no_server_say_why(self, server, out):
        _, url, _ = server
        dataset = fetched([a_file(url=f"{url}/gone.tgz")], [a_file(url="http://127.0.0.1:9/a.tgz")])
        with pytest.raises(DownloadError) as caught:
            download(dataset, out)
        assert f"{url}/gone.tgz: HTTP 404" in str(caught.value)
        assert "http://127.0.0.1:9/a.tgz: connection refused (5 tries)" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert nothing_left(out)

    def test_an_unknown_host_is_asked_once(self, out, monkeypatch, capsys):
        def unknown(*args, **kwargs):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        file = a_file(url="http://nowhere.invalid/a", alternates=["ftp://nowhere.invalid/a"])
        with pytest.raises(
            NoDataError,
            match=r"http://nowhere\.invalid/a: unknown host, ftp://nowhere\.invalid/a: unknown host",
        ):
            download(fetched([file]), out)
        assert "next try" not in capsys.readouterr().err

    def test_the_url_then_its_alternates(self, server, out):
        served, url, requests = server
        folder_with(served, other_tgz=GOOD, third_tgz=b"not asked for")
        names = ("gone", "other", "third")
        first, *others = (f"{url}/{name}.tgz" for name in names)
        download(fetched([a_file(url=first, alternates=others)]), out)
        assert listing(out) == {"data.tgz": GOOD}
        assert [r for r in requests if r.startswith("/")][-1] == "/other.tgz"
        assert not [r for r in requests if r == "/third.tgz"]

    def test_addresses_of_files(self, tmp_path, out):
        folder = folder_with(tmp_path / "a folder", data_tgz=GOOD, other_tgz=b"other")
        download(fetched([a_file(url=(folder / "data.tgz").as_uri())]), out)
        assert listing(out) == {"data.tgz": GOOD}
        download(fetched([a_file()], mirrors=[f"{folder.as_uri()}/"]), out)
        assert listing(out) == {"data.tgz": GOOD}
        with pytest.raises(ChecksumError, match=r"expected .* found"):
            download(fetched([a_file(url=(folder / "other.tgz").as_uri())]), out)
        with pytest.raises(NoDataError, match=r"gone\.tgz: no such file"):
            download(fetched([a_file(url=(folder / "gone.tgz").as_uri())]), out)

    def test_other_protocols_are_refused(self, out):
        with pytest.raises(NoDataError, match="addresses begin with http://, https://, ftp:// or"):
            download(fetched([a_file(url="gopher://a.org/data.tgz")]), out)

    def test_no_ftp_server_says_why(self, out):
        with pytest.raises(NoDataError, match=r"ftp://127\.0\.0\.1:9/a\.tgz: connection refused"):
            download(fetched([a_file(url="ftp://127.0.0.1:9/a.tgz")]), out)


class TestContents:
    def archive(self, path, mode, top, files):
        with tarfile.open(path, mode) as tar:
            for name, content in files:
                member = tarfile.TarInfo(f"{top}/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    FILES = (("b/2.txt", b"two"), ("a.txt", b"one"), ("b-1.txt", b"three"))

    def test_digest_is_of_the_sorted_list(self, tmp_path):
        lines = "".join(
            f"{sha256(content)}  ./{name}\n"
            for name, content in (("a.txt", b"one"), ("b-1.txt", b"three"), ("b/2.txt", b"two"))
        )
        path = self.archive(tmp_path / "a.tar", "w", "top", self.FILES)
        assert contents_digest(path) == sha256(lines.encode())

    def test_compression_order_top_folder_and_excluded_folders_do_not_matter(self, tmp_path):
        one = self.archive(tmp_path / "a.tar", "w", "top", self.FILES)
        more = (*reversed(self.FILES), ("samples/x.jpg", b"x"))
        other = self.archive(tmp_path / "b.tar.xz", "w:xz", "else-1.0", more)
        assert contents_digest(other, ["samples"]) == contents_digest(one)
        assert contents_digest(other) != contents_digest(one)

    def test_contents_are_a_proof(self, tmp_path, out):
        mirror = tmp_path / "mirror"
        mirror.mkdir()
        path = self.archive(mirror / "a.tgz", "w:gz", "top", self.FILES)
        right = contents_digest(path)
        download(fetched([File(name="a.tgz", contents=right)], mirrors=[str(mirror)]), out)
        assert list(listing(out)) == ["a.tgz"]
        with pytest.raises(ChecksumError, match=rf"expected {'0' * 64}, found {right}"):
            download(fetched([File(name="a.tgz", contents="0" * 64)], mirrors=[str(mirror)]), out)

    def test_two_files_of_one_path_are_no_proof(self, tmp_path):
        """The first would be unpacked, too, and only the second would be in the digest."""
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as tar:
            for name in ("evil/a.txt", "top/a.txt"):
                tar.addfile(tarfile.TarInfo(name))
        with pytest.raises(ArchiveError, match=r"a\.tar: 'top/a\.txt' is the second file 'a\.txt'"):
            contents_digest(path)

    def test_a_truncated_archive_leaves_nothing(self, tmp_path, out):
        mirror = tmp_path / "mirror"
        mirror.mkdir()
        path = self.archive(mirror / "a.tgz", "w:gz", "top", self.FILES)
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(ArchiveError, match=rf"a\.tgz from {path}: damaged or cut short"):
            download(fetched([File(name="a.tgz", contents="0" * 64)], mirrors=[str(mirror)]), out)
        assert nothing_left(out)

    def test_the_real_grocery_archive(self):
        name = "GroceryStoreDataset-fc80ba90.tar"
        places = [ROOT.parent / "shared/data", Path(os.environ.get("HIER_MIRROR") or ROOT)]
        found = [place / name for place in places if (place / name).exists()]
        if not found:
            pytest.skip("the real archives are not there; set HIER_MIRROR to their folder")
        expected = "353a02e9c239eb48dc57282745012c2ca45bcccf2d4ef2bf894c31ba7ae7e059"
        assert contents_digest(found[0], ["sample_images"]) == expected


def test_generated_datasets_are_drawn(out):
    dataset = fetched([a_file()]).model_copy(
        update={
            "generate": Generate(seed=0, branching=[2, 2], images_per_class=1, size=16),
            "sources": [],
        }
    )
    download(dataset, out)
    assert list(listing(out)) == ["tiny.tgz"]
    with tarfile.open(out / "tiny.tgz") as tar:
        assert sum(name.endswith(".jpg") for name in tar.getnames()) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        ("/a", ["/a"]),
        ("/a,b", ["/a", "b"]),
        (f"/a{os.pathsep}b/c", ["/a", "b/c"]),
        ("https://a.org/x", ["https://a.org/x"]),
        ("http://a.org:8000", ["http://a.org:8000"]),
        (
            f"/a{os.pathsep}http://a.org:8000/x{os.pathsep}/b, ftp://c",
            ["/a", "http://a.org:8000/x", "/b", "ftp://c"],
        ),
    ],
)
def test_mirrors_of_the_environment(monkeypatch, value, expected):
    monkeypatch.setenv("HIER_MIRROR", value)
    assert mirrors_of_environment() == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("~nouser/x", "'~nouser/x': there is no such user, so no such folder"),
        ("http://", "'http://': it names no host or folder after the ://"),
        ("http:///x", "'http:///x': it names no host or folder after the ://"),
        ("file://", "'file://': it names no host or folder after the ://"),
        ("/a,htp://a.org/x", "'htp://a.org/x': addresses begin with http://, https://, ftp:// or"),
        ("htp:/x", "'htp:/…' is no address; addresses begin with http://"),
        ("/a, http:/a.org", "'http:/…' is no address; addresses begin with http://"),
        ("http://[a", "'http://[a': that is no valid address"),
        ("http://a.org:99999/x", "'http://a.org:99999/x': that is no valid address"),
    ],
)
def test_a_mirror_that_can_be_none(monkeypatch, out, value, message):
    monkeypatch.setenv("HIER_MIRROR", value)
    with pytest.raises(ConfigError) as caught:
        download(fetched([a_file()]), out)
    assert str(caught.value).startswith(f"HIER_MIRROR: {message}")
    assert "\n" not in str(caught.value)
    assert nothing_left(out)


def test_folders_that_look_like_addresses_are_folders(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("HIER_MIRROR", "data:/x")
    assert mirrors_of_environment() == ["data", "/x"]


@pytest.mark.parametrize("url", ["http://[a/b", "ftp://[a/b", "ftp://a.org:port/b"])
def test_an_address_that_is_none(out, url):
    with pytest.raises(NoDataError, match="no valid address"):
        download(fetched([a_file(url=url)]), out)
