"""A proxy of a JSON-RPC node with which a test can block a process at one of its transactions."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import requests

SEND = "eth_sendRawTransaction"
REACHED_SECONDS = 60.0


class HeldNode:
    """Forwards requests to a node. `hold` blocks one transaction; all other requests pass."""

    def __init__(self, node_url: str) -> None:
        self._node_url = node_url
        self._moment: Literal["", "before", "after"] = ""
        self._reached = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hold(self, moment: Literal["before", "after"]) -> None:
        """Do not answer the next transaction: before it reaches the node, or after."""
        self._reached.clear()
        self._moment = moment

    def wait(self) -> None:
        """Wait until a process is held."""
        assert self._reached.wait(REACHED_SECONDS), f"no transaction came {self._moment}"

    def answer(self, body: bytes) -> bytes | None:
        """The node's answer, or None for a request that is held."""
        moment = self._moment if json.loads(body)["method"] == SEND else ""
        content = None if moment == "before" else self._ask(body)
        if not moment:
            return content
        self._moment = ""
        self._reached.set()
        return None

    def _ask(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        return requests.post(self._node_url, body, headers=headers, timeout=20).content


@contextlib.contextmanager
def held_node(node_url: str) -> Iterator[HeldNode]:
    held, ended = HeldNode(node_url), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = held.answer(self.rfile.read(int(self.headers["Content-Length"])))
            if content is None:
                ended.wait()
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    held.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield held
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
