"""Servers that keep their clients waiting for as long as they can, or fill their memory.

A behaviour is what a server does on one connection after it has read a request, until the client
closes the connection or the test ends. All servers are on 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

#: Handles a connection; ``wait`` sleeps, and returns whether the test has ended.
Behaviour = Callable[[socket.socket, Callable[[float], bool]], None]

#: Shorter than any timeout of a single read.
DRIP_SECONDS: Final = 0.02
_MANY: Final = 10**10
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def _drip(start: bytes, forever: bytes) -> Behaviour:
    """Send a start at once, and then the same bytes repeatedly, with pauses."""

    def behave(client: socket.socket, wait: Callable[[float], bool]) -> None:
        client.sendall(start)
        while not wait(DRIP_SECONDS):
            client.sendall(forever)

    return behave


def _say(answer: bytes) -> Behaviour:
    """Send an answer, and close the connection."""

    def behave(client: socket.socket, wait: Callable[[float], bool]) -> None:
        client.sendall(answer)

    return behave


def _pour(head: bytes, piece: bytes) -> Behaviour:
    """Send a head, and pieces as fast as the client takes them."""

    def behave(client: socket.socket, wait: Callable[[float], bool]) -> None:
        client.sendall(head)
        sent = 0
        while sent < _MANY and not wait(0):
            client.sendall(piece)
            sent += len(piece)

    return behave


def _bomb() -> bytes:
    body = gzip.compress(bytes(64 << 20), compresslevel=1)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    return _HEAD + head + body


def _silence(client: socket.socket, wait: Callable[[float], bool]) -> None:
    while not wait(1):
        pass


_CHUNKED: Final = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_MIB: Final = bytes(1 << 20)

#: Behaviours that block a client that has only a timeout for each read.
ENDLESS: Final[dict[str, Behaviour]] = {
    "says nothing": _silence,
    "drips a status line": _drip(b"HTTP/1.1 200 ", b"O"),
    "drips a header": _drip(_HEAD + b"X-Long: ", b"a"),
    "sends 100 Continue without end": _drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips a chunk extension": _drip(_CHUNKED + b"5;", b"e"),
    "drips a trailer": _drip(_CHUNKED + b"0\r\nX-Long: ", b"a"),
    "drips a body": _drip(_HEAD + b"Content-Length: 100000\r\n\r\n", b"{"),
    "drips a body without length": _drip(_HEAD + b"\r\n", b"{"),
}
#: Behaviours that end, or that would fill the client's memory.
WRONG: Final[dict[str, Behaviour]] = {
    "promises 10 GB": _pour(_HEAD + b"Content-Length: %d\r\n\r\n" % _MANY, _MIB),
    "sends 10 GB in chunks": _pour(_CHUNKED, b"100000\r\n" + _MIB + b"\r\n"),
    "sends fewer bytes than it promises": _say(_HEAD + b"Content-Length: 50\r\n\r\n{}"),
    "contradicts its own length": _say(_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "redirects with a body of 10 GB": _pour(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: %d\r\n\r\n"
        % _MANY,
        _MIB,
    ),
    "sends a compressed bomb": _say(_bomb()),
    "sends headers without end": _pour(_HEAD, b"X-Another: %s\r\n" % (b"a" * 1000)),
    "hangs up": _say(b""),
    "speaks no HTTP": _say(b"\x00\x01 no HTTP\r\n\r\n"),
}
#: Behaviours towards a client that starts TLS.
TLS: Final[dict[str, Behaviour]] = {
    "never answers the TLS handshake": _silence,
    # The header of a handshake record of 16 KB, which then comes byte by byte.
    "drips the TLS handshake": _drip(b"\x16\x03\x03\x3f\xff", b"\x02"),
}


@contextlib.contextmanager
def hostile_server(behave: Behaviour, *, reads: bool = True) -> Iterator[int]:
    """Run a server with this behaviour; yield its port. ``reads``: it reads requests first."""
    ended = threading.Event()

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(30)
            if reads:
                client.recv(1 << 16)
            behave(client, ended.wait)
            # Shut down first: closing a socket with unread data resets the connection.
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, args=(listening,), daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


class Drip:
    """A behaviour that holds its clients in each of the endless ways in turn; counts them."""

    def __init__(self) -> None:
        self.held = 0
        self._ways = itertools.cycle(ENDLESS.values())

    def __call__(self, client: socket.socket, wait: Callable[[float], bool]) -> None:
        self.held += 1
        next(self._ways)(client, wait)


class Front:
    """Forwards connections to the server at a port of this machine; while ``drips``, holds them.

    A client that has sent a request meanwhile is held until it gives up, also after ``drips`` has
    ended: only its own deadline frees it.
    """

    def __init__(self, behind: int) -> None:
        self.port = 0
        self.drips = False
        self.drip = Drip()
        self._behind = behind

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __call__(self, client: socket.socket, wait: Callable[[float], bool]) -> None:
        with socket.create_connection(("127.0.0.1", self._behind)) as server:
            while not wait(0):
                for source in select.select([client, server], [], [], 1)[0]:
                    received = source.recv(1 << 16)
                    if not received:
                        return
                    if source is client and self.drips:
                        self.drip(client, wait)
                        return
                    (server if source is client else client).sendall(received)


@contextlib.contextmanager
def front(behind: int) -> Iterator[Front]:
    """Run a front of the server at this port."""
    running = Front(behind)
    with hostile_server(running, reads=False) as running.port:
        yield running
