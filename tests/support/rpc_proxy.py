"""A proxy for a JSON-RPC node that counts the requests, and that a test can disturb."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

from support.hostile_server import Drip

Mode = Literal["pass", "drop", "delay", "garbage", "refuse", "drip"]
DELAY_SECONDS: Final = 3.0
GARBAGE: Final = (
    b"<html>502 Bad Gateway</html>",
    b'{"jsonrpc":"2.0","id":1,"result":"0x"}',
    b'{"jsonrpc":"2.0","id":1,"result":"0xzz"}',
    b'{"jsonrpc":"2.0","id":1,"result":null}',
    b'{"jsonrpc":"2.0","id":1,"result":17}',
    b'{"jsonrpc":"2.0","id":1,"result":{"number":"x"}}',
    b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"busy"}}',
    b'{"jsonrpc":"2.0","id":1}',
    b"[]",
    b"\xff\xfe\x00",
    b"",
)


class RpcProxy:
    """Forwards requests to a node on this machine; its ``mode`` can be changed at any time.

    ``methods`` counts the calls of each method; a batch is one request.
    """

    def __init__(self, node_port: int) -> None:
        self._node_port = node_port
        self._garbled = 0
        self._lock = threading.Lock()
        self.mode: Mode = "pass"
        self.methods: Counter[str] = Counter()
        self.drip = Drip()
        self.ended = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        return self.methods.total()

    def answer(self, body: bytes, client: socket.socket) -> tuple[int, bytes] | None:
        """A status and a body; None to close the connection.

        In the mode "drip", the client is held until it gives up, also after the mode has changed.
        """
        with self._lock:
            asked = json.loads(body)
            self.methods["batch" if isinstance(asked, list) else asked["method"]] += 1
        if self.mode == "drop":
            return None
        if self.mode == "drip":
            with contextlib.suppress(OSError):
                self.drip(client, self.ended.wait)
            return None
        if self.mode == "refuse":
            return 503, b"busy"
        if self.mode == "garbage":
            with self._lock:
                self._garbled += 1
                return 200, GARBAGE[self._garbled % len(GARBAGE)]
        if self.mode == "delay":
            time.sleep(DELAY_SECONDS)
        return self._ask(body)

    def _ask(self, body: bytes) -> tuple[int, bytes] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._node_port, timeout=60)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return None
        finally:
            connection.close()


@contextlib.contextmanager
def rpc_proxy(node_port: int) -> Iterator[RpcProxy]:
    proxy = RpcProxy(node_port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = proxy.answer(body, self.connection)
            if answer is None:
                self.close_connection = True
                return
            status, body = answer
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def setup(self) -> None:
            super().setup()
            # Headers and body are two packets: without this, the second one is delayed.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Do not report that a client has closed its connection."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
