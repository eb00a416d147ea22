"""What is fetched is fetched from here: no mirror of the user's, no waiting between tries."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fakes.transfers import folder_with, ftp_server, serving, web_server


@pytest.fixture
def from_here_alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hier.data.retries.FIRST_WAIT", 0)
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


@pytest.fixture
def web():
    with web_server() as script:
        yield script


@pytest.fixture
def ftp():
    with ftp_server() as script:
        yield script
