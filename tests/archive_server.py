"""A server of one file on this machine, as good or as bad as a test wants it."""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 2**16


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802 (the name http.server calls)
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        failure = server.failures.pop(0) if server.failures else None
        if isinstance(failure, int):
            return self.send_error(failure)
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        n_bytes = len(server.data)
        if first >= n_bytes:
            return self.send_error(416)
        end = n_bytes if server.dies_at is None else server.dies_at
        if failure == "break":
            end = first + (n_bytes - first) // 2
        if first >= end:
            return self.connection.close()  # dead: no answer at all
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{n_bytes - 1}/{n_bytes}")
        if server.announce:
            self.send_header("Content-Length", str(n_bytes - first))
        self.end_headers()
        for start in range(first, end, BLOCK):
            block = server.data[start : min(start + BLOCK, end)]
            server.sent += len(block)  # before: who has received it may look at once
            self.wfile.write(block)
            time.sleep(server.pause)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    """A server of `data` inside a `with` block, `pause` seconds after each block.

    failures: what the next requests meet, a status or "break", which breaks off in the middle; dies_at: it gives no
    byte from this one on; ranges, announce: whether it knows ranges and tells the length. requests: the range each one
    asked for; sent: bytes.
    """

    daemon_threads = True

    def __init__(self, data=b"", pause=0.0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.pause, self.dies_at, self.failures = data, pause, None, []
        self.ranges = self.announce = True
        self.requests, self.sent = [], 0
        self.url = f"http://127.0.0.1:{self.server_port}/file_downloaded"

    def handle_error(self, *connection):
        """Say nothing of a client that hangs up or was killed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(*connection)

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._thread.join()
        self.server_close()
