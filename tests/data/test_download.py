import errno
import hashlib
import io
import os
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hier.config.dataset import Counts, Dataset, File, Generate, Source
from hier.data.download import contents_digest, download, mirrors_of_environment
from hier.errors import ArchiveError, ChecksumError, DiskFullError, DownloadError

ROOT = Path(__file__).parents[2]
GOOD = b"the real archive"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def a_file(name="data.tgz", content=GOOD, **values):
    return File(name=name, **({"sha256": sha256(content)} | values))


def fetched(*sources, mirrors=()):
    return Dataset(
        name="tiny",
        layout="cub",
        sources=[Source(files=list(files)) for files in sources],
        mirrors=list(mirrors),
        superclass=False,
        counts=Counts(images={"train": 1, "test": 1}, train_classes=1, test_classes=1),
        store_size=8,
        ks=[1],
    )


def folder_with(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name.replace("_", ".")).write_bytes(content)
    return path


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_mirror_of_the_user(monkeypatch):
    monkeypatch.delenv("HIER_MIRROR", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out/archive"


@pytest.fixture
def server(tmp_path):
    """A web server of the folder `served`; yields the folder, its address and the requests."""
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, form, *args):
            requests.append(self.path)

        def do_GET(self):
            if self.path != "/cut.tgz":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Length", str(len(GOOD)))
            self.end_headers()
            self.wfile.write(GOOD[:5])
            return None

    served = folder_with(tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served))) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served, f"http://127.0.0.1:{http.server_port}", requests
        http.shutdown()
        thread.join()


def nothing_left(out):
    return not out.exists() and (not out.parent.exists() or not list(out.parent.iterdir()))


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
        dataset = fetched(
            [a_file("a.zip")], [a_file("b.zip"), a_file("c.zip")], mirrors=[str(tmp_path)]
        )
        with pytest.raises(DownloadError) as caught:
            download(dataset, out)
        assert str(caught.value) == (
            "tiny: no source could be had. "
            f"a.zip was looked for at {tmp_path}/a.zip: no such file; or "
            f"b.zip was looked for at {tmp_path}/b.zip: no such file. "
            "Put the files into a folder and set HIER_MIRROR to it"
        )
        assert nothing_left(out)

    def test_no_address_and_no_mirror(self, out):
        with pytest.raises(
            DownloadError, match=r"a\.zip was looked for at nowhere: it has no addr"
        ):
            download(fetched([a_file("a.zip")]), out)

    @pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
    def test_interruption_and_full_disk_leave_nothing(self, tmp_path, out, monkeypatch, failure):
        def stop(path, *args):
            assert path.exists()
            raise failure

        monkeypatch.setattr("hier.data.download._verify", stop)
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
        folder_with(served, data_tgz=b"<html>moved</html>")
        with pytest.raises(ChecksumError, match=rf"data\.tgz from {url}/data\.tgz: expected"):
            download(fetched([a_file(url=f"{url}/data.tgz")]), out)
        assert nothing_left(out)

    def test_not_found_and_no_server_say_why(self, server, out):
        _, url, _ = server
        dataset = fetched([a_file(url=f"{url}/gone.tgz")], [a_file(url="http://127.0.0.1:9/a.tgz")])
        with pytest.raises(DownloadError) as caught:
            download(dataset, out)
        assert f"{url}/gone.tgz: HTTP 404" in str(caught.value)
        assert "http://127.0.0.1:9/a.tgz: ConnectionError" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert nothing_left(out)

    def test_a_transfer_that_breaks_off_says_so(self, server, out):
        _, url, _ = server
        with pytest.raises(DownloadError, match=rf"{url}/cut\.tgz: ChunkedEncodingError"):
            download(fetched([a_file(url=f"{url}/cut.tgz")]), out)
        assert nothing_left(out)

    def test_no_ftp_server_says_why(self, out):
        with pytest.raises(DownloadError, match=r"ftp://127\.0\.0\.1/a\.tgz: ConnectionRefused"):
            download(fetched([a_file(url="ftp://127.0.0.1/a.tgz")]), out)

    def test_other_protocols_are_refused(self, out):
        with pytest.raises(DownloadError, match="addresses begin with http://, https:// or ftp://"):
            download(fetched([a_file(url="file:///etc/passwd")]), out)


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

    def test_a_truncated_archive_leaves_nothing(self, tmp_path, out):
        mirror = tmp_path / "mirror"
        mirror.mkdir()
        path = self.archive(mirror / "a.tgz", "w:gz", "top", self.FILES)
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(ArchiveError, match=r"a\.tgz: damaged or cut short"):
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
