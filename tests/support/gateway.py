"""IPFS gateways for tests: one that serves a store, and some that are faulty."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import MAX_FILE_BYTES, ContentStore
from fl_orchestrator.errors import ContentError

#: Answers one GET request.
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(slots=True)
class RunningGateway:
    """``requests`` has the path and the ``Range`` header of each request.

    ``gone`` is set when a client closes the connection before the response is complete.
    """

    url: str
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)


@contextmanager
def gateway(answer: Answer) -> Iterator[RunningGateway]:
    """Run a server on a free port of 127.0.0.1 that answers every GET request with ``answer``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.requests.append((self.path, self.headers.get("Range")))
            try:
                answer(self)
            except (BrokenPipeError, ConnectionResetError):
                running.gone.set()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as http:
        running = RunningGateway(f"http://127.0.0.1:{http.server_address[1]}")
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield running
        finally:
            http.shutdown()


def serving(store: ContentStore) -> Answer:
    """Answers with the content of a store."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        try:
            cid = Cid.parse(request.path.removeprefix("/ipfs/"))
            with store.get(cid, MAX_FILE_BYTES) as stream:
                content = stream.read()
        except ContentError:
            request.send_error(404)
            return
        giving(content)(request)

    return answer


def giving(content: bytes, status: int = 200, promised: int | None = None) -> Answer:
    """Answers every request with these bytes; ``promised`` is the Content-Length that it sends."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) if promised is None else promised))
        request.end_headers()
        request.wfile.write(content)

    return answer
