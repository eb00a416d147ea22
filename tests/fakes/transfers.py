"""Small datasets to download, and servers that break off, stumble and begin at the wrong place."""

import hashlib
import re
import socket
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hier.config.dataset import Counts, Dataset, File, Source

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
        levels=["class"],
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


BIG = bytes(i * i % 251 for i in range(300_000))
PART = Path("downloads/tiny/data.tgz.part")
STATUS = range(100, 600)


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


def big(url, **values):
    return fetched([a_file(content=BIG, url=url, **values)])


@contextmanager
def web_server():
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


@contextmanager
def ftp_server():
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
