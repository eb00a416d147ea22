"""A web server on this machine that answers requests for a part of a file (Range)."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """The server's address (without a slash at the end), and path and Range of every request."""

    url: str
    requests: list[tuple[str, str | None]] = field(default_factory=list)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args, served: Served, **kwargs) -> None:
        self.served = served
        super().__init__(*args, **kwargs)

    def log_message(self, form, *args) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.served.requests.append((self.path, wanted))
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        path = Path(self.translate_path(self.path))
        if match is None or not path.is_file():
            super().do_GET()
        else:
            self._send_part(path, int(match[1]), match[2])

    def _send_part(self, path: Path, start: int, last: str) -> None:
        size = path.stat().st_size
        end = min(int(last) + 1, size) if last else size
        inside = start < end
        self.send_response(206 if inside else 416)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}" if inside else f"bytes */{size}")
        self.send_header("Content-Length", str(end - start if inside else 0))
        self.end_headers()
        if inside:
            with path.open("rb") as stream:
                stream.seek(start)
                self.wfile.write(stream.read(end - start))


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """Serve the files of a folder until the end of the block."""
    served = Served("")
    handler = partial(_Handler, directory=str(folder), served=served)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        served.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            http.shutdown()
            thread.join()
