"""A local HTTP server that acts as an RPC endpoint, with responses set by the test."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import requests

from support.http_server import QuietHandler, http_server


class Endpoint:
    """The responses: an HTTP status and a body, or the entry of ``results`` for a method.

    After the body, ``endless`` is sent repeatedly, each time after ``pause`` seconds. With
    ``forwards_to``, requests are forwarded to a node instead, but first the entries of ``outdated``
    for a method are returned, one for each request. ``requests`` counts the requests.
    """

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.results: dict[str, Any] = {}
        self.endless = b""
        self.pause = 0.0
        self.forwards_to = ""
        self.outdated: dict[str, list[Any]] = {}
        self.requests = 0
        self.sent_bytes = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, result: Any) -> None:
        """Answer every request with this JSON-RPC result."""
        self.status = 200
        self.body = _response(result)

    def serves(self, chain_id: int, **results: Any) -> None:
        """Respond as a node of this chain, with these results by their methods."""
        self.results = {"eth_chainId": hex(chain_id), **results}

    def answer_to(self, request: bytes) -> bytes:
        method = json.loads(request)["method"]
        if self.outdated.get(method):
            return _response(self.outdated[method].pop(0))
        if self.forwards_to:
            headers = {"Content-Type": "application/json"}
            return requests.post(self.forwards_to, request, headers=headers, timeout=20).content
        return _response(self.results[method]) if method in self.results else self.body


def _response(result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


@contextlib.contextmanager
def rpc_endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            endpoint.requests += 1
            body = endpoint.answer_to(self.body())
            self.send_response(200 if endpoint.forwards_to else endpoint.status)
            for name, value in endpoint.headers.items():
                self.send_header(name, value)
            if not endpoint.endless:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)
                while endpoint.endless:
                    time.sleep(endpoint.pause)
                    self.wfile.write(endpoint.endless)
                    endpoint.sent_bytes += len(endpoint.endless)

    with http_server(Handler) as endpoint.port:
        yield endpoint
