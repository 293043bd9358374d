"""JSON-RPC nodes that imitate the responses of providers, proxies and other clients."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

HEAD: Final = 3000
CHAIN: Final = 31_337
GWEI: Final = 10**9
#: The response to a method: a result, ``{"error": …}``, or an HTTP status and a body.
Answer = Any
_BLOCK: Final = {
    "number": hex(HEAD),
    "hash": "0x" + "11" * 32,
    "timestamp": "0x1",
    "baseFeePerGas": hex(GWEI),
}


def error(code: int, message: str) -> Answer:
    return {"error": {"code": code, "message": message}}


def status(number: int, body: bytes = b"<html>no JSON</html>") -> Answer:
    return number, body


@dataclass
class Provider:
    """A node; ``special`` has functions for the responses of some methods, by their parameters."""

    special: dict[str, Callable[[list[Any]], Answer]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def answer(self, method: str, params: list[Any]) -> Answer:
        self.asked[method] += 1
        every = self.special.get(method) or self.special.get("*")
        if every is not None and method != "eth_chainId":
            return every(params)
        usual = {
            "eth_chainId": hex(CHAIN),
            "eth_blockNumber": hex(HEAD),
            "eth_getLogs": [],
            "eth_getBlockByNumber": _BLOCK,
            "eth_gasPrice": hex(3 * GWEI),
            "eth_maxPriorityFeePerGas": hex(GWEI),
        }
        return usual.get(method, error(-32601, f"the method {method} does not exist"))


def wider_than(blocks: int, refusal: Answer) -> Callable[[list[Any]], Answer]:
    """Refuse a search over more than ``blocks`` blocks."""

    def answer(params: list[Any]) -> Answer:
        first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
        return refusal if last - first >= blocks else []

    return answer


def before(block: int, refusal: Answer) -> Callable[[list[Any]], Answer]:
    """Refuse a search that begins before ``block``."""
    return lambda params: refusal if int(params[0]["fromBlock"], 16) < block else []


def always(answer: Answer) -> Callable[[list[Any]], Answer]:
    return lambda params: answer


@contextlib.contextmanager
def provider(**special: Callable[[list[Any]], Answer]) -> Iterator[Provider]:
    """Run a node on 127.0.0.1; the key ``every`` is for all methods but ``eth_chainId``."""
    node = Provider({("*" if name == "every" else name): f for name, f in special.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = node.answer(asked["method"], asked["params"])
            code, body = found if isinstance(found, tuple) else (200, _body(asked["id"], found))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        node.url = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield node
        finally:
            http.shutdown()


def _body(number: int, found: Answer) -> bytes:
    failed = isinstance(found, dict) and "error" in found
    return json.dumps(
        {"jsonrpc": "2.0", "id": number, **(found if failed else {"result": found})}
    ).encode()
