import errno
import hashlib
import io
import os
import re
import socket
import socketserver
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hier.config.dataset import Counts, Dataset, File, Generate, Source
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
GOOD = b"the real archive"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def a_file(name="data.tgz", content=GOOD, **values):
    return File(name=name, **({"sha256": sha256(content)} | values))


def fetched(*sources, mirrors=(), **values):
    return Dataset(
        name="tiny",
        layout="cub",
        sources=[Source(files=list(files)) for files in sources],
        mirrors=list(mirrors),
        superclass=False,
        counts=Counts(images={"train": 1, "test": 1}, train_classes=1, test_classes=1),
        store_size=8,
        ks=[1],
        **values,
    )


def folder_with(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name.replace("_", ".")).write_bytes(content)
    return path


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_mirror_of_the_user_and_no_waiting(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hier.data.fetch.FIRST_WAIT", 0)
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

    served = folder_with(tmp_path / "served")
    with serving(ThreadingHTTPServer, partial(Handler, directory=str(served))) as port:
        yield served, f"http://127.0.0.1:{port}", requests


@contextmanager
def serving(kind, handler):
    with kind(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Script:
    """What a server answers, request by request, and what it was asked.

    A step is a status to answer with, or how many bytes to send before breaking off; after the
    last step all goes well. `asked` holds the first byte of each request.
    """

    def __init__(self):
        self.content, self.steps, self.asked = BIG, [], []
        self.ranges, self.shift = True, 0  # can it begin in the middle; how far beside it does
        self.url = ""

    def next(self, start):
        self.asked.append(start)
        return self.steps.pop(0) if self.steps else len(self.content)


BIG = bytes(i * i % 251 for i in range(300_000))
PART = Path("downloads/tiny/data.tgz.part")
STATUS = range(100, 600)


@pytest.fixture
def web():
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, form, *args):
            pass

        def do_GET(self):
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(found[1]) if found else 0
            step = script.next(start)
            if step in STATUS:
                return self.answer(step, b"")
            start -= script.shift
            if start >= len(script.content) and script.ranges:
                return self.answer(416, b"")
            if not found or not script.ranges:
                return self.answer(200, script.content, step)
            extent = f"bytes {start}-{len(script.content) - 1}/{len(script.content)}"
            return self.answer(206, script.content[start:], step, extent)

        def answer(self, status, body, most=None, extent=None):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if extent:
                self.send_header("Content-Range", extent)
            self.end_headers()
            self.wfile.write(body[:most])

    with serving(ThreadingHTTPServer, Handler) as port:
        script.url = f"http://127.0.0.1:{port}/data.tgz"
        yield script


@pytest.fixture
def ftp():
    script = Script()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.start, self.data = 0, None
            self.say("220 hello")
            while line := self.rfile.readline().decode().strip():
                command, _, argument = line.partition(" ")
                getattr(self, f"on_{command.lower()}", self.on_user)(argument)

        def say(self, line):
            self.wfile.write(f"{line}\r\n".encode())

        def on_user(self, argument):
            self.say("200 yes")

        def on_size(self, argument):
            self.say(f"213 {len(script.content)}")

        def on_rest(self, argument):
            if script.ranges:
                self.start = int(argument)
                self.say("350 go on")
            else:
                self.data.close()
                self.say("502 not implemented")

        def on_pasv(self, argument):
            self.data = socket.create_server(("127.0.0.1", 0))
            port = self.data.getsockname()[1]
            self.say(f"227 here (127,0,0,1,{port // 256},{port % 256})")

        def on_retr(self, argument):
            step = script.next(self.start)
            with self.data, self.data.accept()[0] as connection:
                if step in STATUS:
                    return self.say(f"{step} no")
                self.say("150 comes")
                connection.sendall(script.content[self.start :][:step])
            return self.say("226 done" if step else "426 cut")

    with serving(socketserver.ThreadingTCPServer, Handler) as port:
        script.url = f"ftp://127.0.0.1:{port}/data.tgz"
        yield script


def nothing_left(out):
    """Neither the destination nor anything beside it but the word that there is no data."""
    beside = {path.name for path in out.parent.iterdir()} if out.parent.exists() else set()
    return beside <= {"no-data.txt"}


def nothing_arrived(folder):
    """No file but parts, which are never taken for whole."""
    return all(path.suffix == ".part" for path in folder.rglob("*") if path.is_file())


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


def big(url, **values):
    return fetched([a_file(content=BIG, url=url, **values)])


@pytest.fixture(params=["web", "ftp"])
def either(request):
    return request.getfixturevalue(request.param)


class TestBrokenTransfers:
    def test_goes_on_where_it_broke_off(self, either, out):
        either.steps = [100_000, 50_000]
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert either.asked == [0, 100_000, 150_000]
        assert not PART.exists()

    def test_an_end_before_the_promised_length_is_no_end(self, either, out):
        """Of a file without a checksum nothing else would tell."""
        either.steps = [100_000] + [0] * 5
        with pytest.raises(NoDataError, match=r"data\.tgz: the transfer broke off \(5 tries\)"):
            download(fetched([File(name="data.tgz", url=either.url, unproved="none")]), out)
        assert either.asked == [0] + [100_000] * 5
        assert nothing_left(out)

    def test_tries_that_bring_something_do_not_count(self, either, out):
        either.steps = [10_000, 0, 0, 0, 0] * 3
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert len(either.asked) == 16

    def test_a_part_of_an_earlier_run_is_gone_on_with(self, either, out):
        either.steps = [100_000] + [0] * 5
        with pytest.raises(NoDataError):
            download(big(either.url), out)
        assert nothing_left(out)
        assert PART.read_bytes() == BIG[:100_000]
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert either.asked[-1] == 100_000
        assert not PART.exists()

    def test_a_part_of_one_address_is_gone_on_with_at_another(self, web, ftp, out):
        web.steps = [100_000, 404]
        download(big(web.url, alternates=[ftp.url]), out)
        assert listing(out) == {"data.tgz": BIG}
        assert (web.asked, ftp.asked) == ([0, 100_000], [100_000])

    def test_without_a_checksum_two_addresses_are_not_mixed(self, web, ftp, out):
        folder_with(PART.parent)
        PART.with_name("data.bin.part").write_bytes(b"of an earlier run")
        web.steps, ftp.content = [100_000, 404], BIG[::-1]
        file = File(name="data.bin", url=web.url, alternates=[ftp.url], unproved="none")
        download(fetched([file]), out)
        assert listing(out) == {"data.bin": BIG[::-1]}
        assert (web.asked, ftp.asked) == ([0, 100_000], [0])

    def test_a_part_goes_when_a_folder_has_the_whole(self, either, out, tmp_path):
        either.steps = [100_000] + [0] * 5
        with pytest.raises(NoDataError):
            download(big(either.url), out)
        assert PART.exists()
        mirror = folder_with(tmp_path / "mirror", data_tgz=BIG)
        download(fetched([a_file(content=BIG)], mirrors=[str(mirror)]), out)
        assert listing(out) == {"data.tgz": BIG}
        assert not PART.exists()

    def test_a_part_with_other_content_fails_and_goes(self, either, out):
        folder_with(PART.parent)
        PART.write_bytes(b"x" * 100_000)
        with pytest.raises(ChecksumError):
            download(big(either.url), out)
        assert either.asked == [100_000]
        assert not PART.exists()
        assert nothing_left(out)
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}

    def test_wrong_content_fails_and_goes(self, either, out):
        either.content = BIG[:-1] + b"x"
        with pytest.raises(ChecksumError, match=rf"found {sha256(either.content)}"):
            download(big(either.url), out)
        assert not PART.exists()
        assert nothing_left(out)

    @pytest.mark.parametrize("size", [len(BIG), len(BIG) + 9])
    def test_a_part_that_is_too_long_is_begun_anew(self, either, out, size):
        folder_with(PART.parent)
        PART.write_bytes(b"x" * size)
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}

    def test_a_server_that_cannot_begin_in_the_middle(self, either, out):
        either.ranges = False
        either.steps = [100_000, 50_000]
        download(big(either.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert not PART.exists()

    def test_a_server_without_ranges_that_breaks_off_at_will_is_given_up(self, web, out):
        """Less than has been there before is no progress."""
        web.ranges = False
        web.steps = [100_000, 70_000, 90_000, 70_000, 90_000, 70_000, 1]
        with pytest.raises(NoDataError, match="5 tries"):
            download(big(web.url), out)
        assert len(web.asked) == 6

    def test_another_part_than_was_asked_for_is_not_appended(self, web, out):
        folder_with(PART.parent)
        PART.write_bytes(BIG[:100_000])
        web.shift = 10
        download(big(web.url), out)
        assert listing(out) == {"data.tgz": BIG}
        assert web.asked == [100_000, 0]

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_busy_server_is_asked_again(self, web, out, status):
        web.steps = [status] * 4
        download(big(web.url), out)
        assert listing(out) == {"data.tgz": BIG}
        web.steps = [status] * 5
        with pytest.raises(NoDataError, match=rf"HTTP {status} \(5 tries\)"):
            download(big(web.url), out)

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_a_refusal_is_final_and_leaves_the_part(self, web, out, status):
        folder_with(PART.parent)
        PART.write_bytes(BIG[:5])
        web.steps = [status]
        with pytest.raises(NoDataError, match=rf"HTTP {status}\."):
            download(big(web.url), out)
        assert web.asked == [5]
        assert PART.read_bytes() == BIG[:5]

    def test_ftp_refusals_and_pauses(self, ftp, out):
        ftp.steps = [450]
        download(big(ftp.url), out)
        assert listing(out) == {"data.tgz": BIG}
        ftp.steps = [550]
        with pytest.raises(NoDataError, match=r"data\.tgz: FTP 550 no\."):
            download(big(ftp.url), out)

    def test_waits_double(self, web, out, monkeypatch):
        waits = []
        monkeypatch.setattr("hier.data.fetch.FIRST_WAIT", 1.0)
        monkeypatch.setattr("hier.data.fetch.time.sleep", waits.append)
        web.steps = [503] * 5
        with pytest.raises(NoDataError):
            download(big(web.url), out)
        assert waits == [1, 2, 4, 8]

    def test_interrupted_transfers_keep_the_part(self, either, out, monkeypatch):
        def stop(seconds):
            raise KeyboardInterrupt

        either.steps = [100_000]
        with monkeypatch.context() as patch:
            patch.setattr("hier.data.fetch.time.sleep", stop)
            with pytest.raises(KeyboardInterrupt, match=f"is kept in {PART}: start again to go on"):
                download(big(either.url), out)
        assert PART.read_bytes() == BIG[:100_000]
        assert nothing_left(out)
        assert nothing_arrived(PART.parent)

    def test_interrupted_without_a_checksum_nothing_is_kept(self, either, out, monkeypatch):
        def stop(seconds):
            raise KeyboardInterrupt

        either.steps = [100_000]
        monkeypatch.setattr("hier.data.fetch.time.sleep", stop)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            download(fetched([File(name="data.tgz", url=either.url, unproved="none")]), out)
        assert not Path("downloads").exists()

    @pytest.mark.parametrize("made", [False, True])
    def test_an_empty_folder_of_parts_goes_where_it_came(self, web, out, made):
        if made:
            folder_with(PART.parent)
        download(big(web.url), out)
        assert PART.parent.exists() == made
        web.steps = [404]
        with pytest.raises(NoDataError):
            download(big(web.url), out)
        assert Path("downloads").exists() == made

    @pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
    def test_a_failure_while_writing_is_not_the_servers(self, either, out, monkeypatch, failure):
        def stop(*args):
            raise failure

        either.steps = [0]
        monkeypatch.setattr("hier.data.fetch._write", stop)
        expected = DiskFullError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            download(big(either.url), out)
        assert either.asked == [0]
        assert expected is KeyboardInterrupt or str(PART) in str(caught.value)


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


def test_no_answer_is_said_in_words(web, out, monkeypatch):
    import requests

    def silent(*args, **kwargs):
        raise requests.ConnectTimeout("HTTPConnectionPool")

    monkeypatch.setattr(requests, "get", silent)
    with pytest.raises(NoDataError, match=r": no answer within 30 s \(5 tries\)"):
        download(big(web.url), out)
