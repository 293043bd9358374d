"""The requests of the Kubo store, as a node behind a proxy and a password sees them.

What a real node does with them: tests/integration/test_kubo_store.py.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from structlog.testing import capture_logs

from fl_orchestrator.content import download
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.kubo import KuboStore
from fl_orchestrator.content.store import ContentStore, StoreUnavailable, StoreUrlError

CONTENT = b"a few bytes"
CID = cid_of(io.BytesIO(CONTENT))


@dataclass
class Node:
    """Says of every content that it is here. ``passing`` statuses come before the ``status``."""

    port: int = 0
    status: int = 200
    body: bytes = json.dumps({"Hash": str(CID), "Local": True}).encode()
    passing: list[int] = field(default_factory=list)
    seen: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(download, "BACK_OFF_SECONDS", (0.01, 0.01))
    with running() as node:
        yield node


@contextmanager
def running() -> Iterator[Node]:
    node = Node()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.headers["Transfer-Encoding"] == "chunked":
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + len(b"\r\n"))
                self.rfile.readline()
            node.seen.append((self.path.partition("?")[0], self.headers["Authorization"]))
            status = node.passing.pop() if node.passing else node.status
            self.send_response(status)
            self.send_header("Content-Length", str(len(node.body)))
            self.end_headers()
            self.wfile.write(node.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        node.port = http.server_port
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield node
        finally:
            http.shutdown()


@pytest.mark.parametrize(
    ("before", "header"),
    [
        ("", None),
        ("user:secret@", "Basic dXNlcjpzZWNyZXQ="),
        ("user:s%40cr%3At@", "Basic dXNlcjpzQGNyOnQ="),
        ("us%C3%A9r:%E2%82%AC@", "Basic dXPDqXI64oKs"),
        ("token@", "Bearer token"),
    ],
)
def test_the_credentials_of_a_url_go_with_every_request(
    node: Node, before: str, header: str | None
) -> None:
    store = open_store(f"kubo+http://{before}127.0.0.1:{node.port}")
    assert store.put(io.BytesIO(CONTENT)) == CID
    assert store.has(CID)
    assert node.seen == [
        ("/api/v0/add", header),
        ("/api/v0/pin/add", header),
        ("/api/v0/files/stat", header),
    ]


def test_an_api_below_a_path_is_asked_there(node: Node) -> None:
    store = open_store(f"kubo+http://user:secret@127.0.0.1:{node.port}/behind/a-proxy/")
    assert store.has(CID)
    assert [path for path, _ in node.seen] == ["/behind/a-proxy/api/v0/files/stat"]


def test_https_needs_no_port() -> None:
    store = open_store("kubo+https://ipfs.example/api-of-ours")
    assert isinstance(store, KuboStore)
    assert store._api == "https://ipfs.example:443/api-of-ours/api/v0"


CALLS: dict[str, Callable[[ContentStore], object]] = {
    "put": lambda store: store.put(io.BytesIO(CONTENT)),
    "get": lambda store: store.get(CID, 100),
    "has": lambda store: store.has(CID),
    "pin": lambda store: store.pin(CID),
    "unpin": lambda store: store.unpin(CID),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_its_status_and_what_to_give(node: Node, call: str, status: int) -> None:
    node.status, node.body = status, b"forbidden!\n"
    store = open_store(f"kubo+http://user:secret@127.0.0.1:{node.port}/hidden")
    with capture_logs() as lines, pytest.raises(StoreUnavailable) as caught:
        CALLS[call](store)
    assert f"127.0.0.1:{node.port} refuses this client: HTTP status {status}." in str(caught.value)
    assert "API.Authorizations" in str(caught.value)
    shown = str(caught.value) + repr(caught.value.__cause__) + str(lines) + repr(store)
    assert not {word for word in ("secret", "hidden") if word in shown}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_proxy_whose_node_is_away_is_told_of_and_asked_again(
    node: Node, call: str, status: int
) -> None:
    node.status, node.body = status, b"<html>Bad Gateway</html>"
    with pytest.raises(StoreUnavailable, match=f"answers with HTTP status {status}"):
        CALLS[call](open_store(f"kubo+http://127.0.0.1:{node.port}"))
    assert len(node.seen) == 3


def test_a_proxy_whose_node_comes_back_is_used(node: Node) -> None:
    node.passing = [502, 503]
    assert open_store(f"kubo+http://127.0.0.1:{node.port}").has(CID)


@pytest.mark.parametrize("limit", [1_000, 1_000_000])
def test_an_answer_of_nested_brackets_does_not_end_the_process(node: Node, limit: int) -> None:
    """In a process of its own, because what it shows is that the stack does not overflow."""
    node.body = b"[" * (1 << 20)
    program = (
        "import sys\n"
        "from fl_orchestrator.content.by_url import open_store\n"
        "from fl_orchestrator.content.cid import Cid\n"
        "from fl_orchestrator.content.store import StoreUnavailable\n"
        f"store = open_store('kubo+http://127.0.0.1:{node.port}')\n"
        f"sys.setrecursionlimit({limit})\n"
        "try:\n"
        f"    store.has(Cid.parse('{CID}'))\n"
        "except StoreUnavailable as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "does not answer as one" in ended.stdout


@pytest.mark.parametrize(
    "url", ["kubo+http://user:secret@", "kubo+ftp://user:secret@host", "kubo+http://a:secret@h:x"]
)
def test_a_password_in_a_url_that_is_refused_is_not_shown(url: str) -> None:
    with pytest.raises(StoreUrlError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value) + str(caught.value.__cause__)
