"""Files that come in fewer bytes: asked for, unpacked within their limits, and taken up again."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from support.gateway import Answer, RunningGateway, gateway, giving, serving

from fl_orchestrator.content import download
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.gateway import Gateway, StoreWithGateways
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import (
    ContentCorrupt,
    ContentNotFound,
    ContentTooLarge,
    StoreUnavailable,
)
from fl_orchestrator.errors import ContentError
from fl_orchestrator.transport import packing
from fl_orchestrator.transport.packing import CODING, packed

zstd = pytest.importorskip("backports.zstd")

CONTENT = (np.random.default_rng(0).standard_normal(1_000_003) * 40).astype(np.int16).tobytes()
CID = cid_of(io.BytesIO(CONTENT))
PACKED = b"".join(packed([CONTENT]))

Start = Callable[[Answer], RunningGateway]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACK_OFF_SECONDS", (0.0, 0.0))


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as running:
        yield lambda answer: running.enter_context(gateway(answer))


def read(source: Gateway | StoreWithGateways, max_bytes: int = len(CONTENT)) -> bytes:
    with source.get(CID, max_bytes) as stream:
        return stream.read()


def packing_gateway(
    body: bytes = PACKED, *, cut: int | None = None, length: bool = True, always: bool = False
) -> Answer:
    """Packs for those that ask for it, and may break off once; ranges are of the plain bytes."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        if wanted:
            offset = int(wanted.removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {offset}-{len(CONTENT) - 1}/*")
            if always:
                request.send_header("Content-Encoding", CODING)
            request.end_headers()
            request.wfile.write(CONTENT[offset:])
            return
        if not always and not packing.accepts(request.headers.get("Accept-Encoding")):
            giving(CONTENT)(request)
            return
        request.send_response(200)
        request.send_header("Content-Encoding", CODING)
        if length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:cut])

    return answer


def test_a_file_comes_in_fewer_bytes_and_is_the_same(start: Start, tmp_path: Path) -> None:
    assert len(PACKED) < 0.6 * len(CONTENT)
    running = start(packing_gateway())
    store = StoreWithGateways(LocalStore(tmp_path), [Gateway(running.url)])
    assert read(store) == CONTENT
    place = LocalStore(tmp_path).locate(CID)
    assert place is not None
    assert place.read_bytes() == CONTENT


def test_a_peer_that_does_not_know_it_works_as_before(start: Start, tmp_path: Path) -> None:
    other = LocalStore(tmp_path)
    other.put(io.BytesIO(CONTENT))
    assert read(Gateway(start(serving(other)).url)) == CONTENT


def test_without_the_library_it_is_not_asked_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "is_available", lambda: False)
    assert read(Gateway(start(packing_gateway()).url)) == CONTENT
    with pytest.raises(StoreUnavailable, match="was not asked for"):
        read(Gateway(start(packing_gateway(always=True)).url))


@pytest.mark.parametrize("length", [True, False], ids=["with a length", "without"])
@pytest.mark.parametrize("cut", [0, 1, 40_000, len(PACKED) // 2, len(PACKED) - 1])
def test_what_breaks_off_goes_on_in_plain_bytes_where_it_was(
    start: Start, cut: int, length: bool
) -> None:
    running = start(packing_gateway(cut=cut, length=length))
    expected = b"".join(packing.Unpacker().unpacked(PACKED[:cut]))
    if not expected:
        # Nothing had arrived: it is asked for from the beginning, until the tries are used up.
        with pytest.raises(StoreUnavailable):
            read(Gateway(running.url))
        return
    assert read(Gateway(running.url)) == CONTENT
    assert [wanted for _, wanted in running.requests] == [None, f"bytes={len(expected)}-"]


def test_a_range_in_the_coding_is_refused(start: Start) -> None:
    running = start(packing_gateway(cut=len(PACKED) // 2, always=True))
    with pytest.raises(StoreUnavailable, match="was not asked for"):
        read(Gateway(running.url))


OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
BAD: dict[str, tuple[bytes, type[ContentError]]] = {
    "junk": (b"\x02no frame", StoreUnavailable),
    "no stride": (b"\x09" + PACKED[1:], StoreUnavailable),
    "more after it": (PACKED + b"x", StoreUnavailable),
    "another file": (b"".join(packed([OTHER])), ContentCorrupt),
    "a shorter file": (b"".join(packed([CONTENT[:-1]])), ContentCorrupt),
    "a longer file": (b"".join(packed([CONTENT + b"x"])), ContentTooLarge),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_peer_that_packs_wrongly_is_left_for_another_one(
    start: Start, tmp_path: Path, kind: str
) -> None:
    body, error = BAD[kind]
    bad = Gateway(start(packing_gateway(body)).url)
    with pytest.raises(error):
        read(bad)
    good = Gateway(start(packing_gateway()).url)
    store = StoreWithGateways(LocalStore(tmp_path), [bad, good])
    assert read(store) == CONTENT


def test_a_bomb_is_refused_at_the_limit_and_takes_no_memory(start: Start, tmp_path: Path) -> None:
    def zeros() -> Iterator[bytes]:
        for _ in range(4096):
            yield bytes(1 << 20)

    bomb = b"".join(packed(zeros()))
    assert len(bomb) < 1 << 19
    own = LocalStore(tmp_path)
    running = start(packing_gateway(bomb))
    tracemalloc.start()
    try:
        with pytest.raises(ContentNotFound, match="more than the"):
            read(StoreWithGateways(own, [Gateway(running.url)]), max_bytes=8 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
