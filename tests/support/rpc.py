"""An HTTP server on this machine that gives the answers that a test wants of an RPC endpoint."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint:
    """What it answers: an HTTP status and a body. ``requests`` counts what came."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.requests = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, result: Any) -> None:
        """Answer every request with this JSON-RPC result."""
        self.status = 200
        self.body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


@contextlib.contextmanager
def rpc_endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            endpoint.requests += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(endpoint.status)
            self.send_header("Content-Length", str(len(endpoint.body)))
            self.end_headers()
            self.wfile.write(endpoint.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
