"""Gateways: what a store has not got is fetched from them, and nothing they do can do harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support.gateway import Answer, RunningGateway, gateway, giving, serving

from fl_orchestrator.content import download
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.gateway import Gateway, StoreWithGateways
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import (
    ContentCorrupt,
    ContentNotFound,
    ContentTooLarge,
    StoreFull,
    StoreUnavailable,
    StoreUrlError,
)
from fl_orchestrator.errors import ContentError

CONTENT = hashlib.shake_128(b"content").digest((2 << 20) + 5)
CID = cid_of(io.BytesIO(CONTENT))
MAX_BYTES = len(CONTENT)

Start = Callable[[Answer], RunningGateway]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACK_OFF_SECONDS", (0.0, 0.0))


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as running:
        yield lambda answer: running.enter_context(gateway(answer))


@pytest.fixture
def own(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "own")


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "other")
    store.put(io.BytesIO(CONTENT))
    return store


def read(source: Gateway | StoreWithGateways, max_bytes: int = MAX_BYTES) -> bytes:
    with source.get(CID, max_bytes) as stream:
        return stream.read()


def kept(tmp_path: Path) -> set[str]:
    return {
        str(p.relative_to(tmp_path / "own")) for p in (tmp_path / "own").rglob("*") if p.is_file()
    }


# What gateways are for


def test_what_the_store_has_not_got_is_fetched_once_and_kept_unpinned(
    start: Start, own: LocalStore, other: LocalStore, tmp_path: Path
) -> None:
    serves = start(serving(other))
    store = open_store((tmp_path / "own").as_uri(), [serves.url + "/"])
    assert not store.has(CID)
    for _ in range(2):
        with store.get(CID, MAX_BYTES) as stream:
            assert stream.read() == CONTENT
    assert serves.requests == [(f"/ipfs/{CID}", None)]
    assert kept(tmp_path) == {f"unpinned/{CID}"}
    store.pin(CID)
    assert kept(tmp_path) == {f"pinned/{CID}"}


def test_what_the_store_has_is_not_asked_of_a_gateway(start: Start, other: LocalStore) -> None:
    tempting = start(giving(b"other bytes"))
    assert read(StoreWithGateways(other, [Gateway(tempting.url)])) == CONTENT
    assert tempting.requests == []


def test_what_is_put_stays_here(start: Start, own: LocalStore) -> None:
    curious = start(giving(b""))
    store = StoreWithGateways(own, [Gateway(curious.url)])
    assert store.put(io.BytesIO(CONTENT)) == CID
    store.unpin(CID)
    assert own.has(CID)
    assert curious.requests == []


def test_a_gateway_below_a_path_is_asked_there(start: Start, other: LocalStore) -> None:
    def below(request: BaseHTTPRequestHandler) -> None:
        request.path = request.path.removeprefix("/base")
        serving(other)(request)

    assert read(Gateway(start(below).url + "/base")) == CONTENT


# What gateways may do


def endless(request: BaseHTTPRequestHandler) -> None:
    """10 GB, of which no length is announced."""
    request.send_response(200)
    request.end_headers()
    for _ in range(10_000):
        request.wfile.write(bytes(1 << 20))


def silent(request: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(20)


def stalling(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT[: 1 << 20])
    threading.Event().wait(20)


def dripping(request: BaseHTTPRequestHandler) -> None:
    """One byte every 50 ms, each in time."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    for i in range(400):
        request.wfile.write(CONTENT[i : i + 1])
        time.sleep(0.05)


def redirecting(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", "http://127.0.0.1:1/secret")
    request.send_header("Content-Length", "0")
    request.end_headers()


def not_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x00\x01 no HTTP\r\n\r\n")


def compressed(request: BaseHTTPRequestHandler) -> None:
    """A bomb for whoever inflates it."""
    body = gzip.compress(bytes(4 << 20))
    request.send_response(200)
    request.send_header("Content-Encoding", "gzip")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


FLIPPED = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
BAD: dict[str, tuple[Answer, type[ContentError]]] = {
    "404": (giving(b"no such thing", 404), ContentNotFound),
    "500": (giving(b"sorry", 500), StoreUnavailable),
    "206 of everything": (giving(CONTENT, 206), StoreUnavailable),
    "other bytes": (giving(FLIPPED), ContentCorrupt),
    "nothing": (giving(b""), ContentCorrupt),
    "a prefix": (giving(CONTENT[:-1]), ContentCorrupt),
    "less than promised": (giving(CONTENT[:-1], promised=len(CONTENT)), StoreUnavailable),
    "a byte too many": (giving(CONTENT + b"x"), ContentTooLarge),
    "10 GB promised": (giving(b"", promised=10**10), ContentTooLarge),
    "10 GB": (endless, ContentTooLarge),
    "silence": (silent, StoreUnavailable),
    "a stall": (stalling, StoreUnavailable),
    "drops": (dripping, StoreUnavailable),
    "a redirection": (redirecting, StoreUnavailable),
    "no HTTP": (not_http, StoreUnavailable),
    "a bomb": (compressed, ContentCorrupt),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_gateway_is_left_for_another_one(
    start: Start, own: LocalStore, other: LocalStore, tmp_path: Path, kind: str
) -> None:
    answer, error = BAD[kind]
    slow = kind in ("silence", "a stall", "drops")
    bad = Gateway(start(answer).url, stall_seconds=0.5 if slow else 20)
    begin = time.monotonic()
    with pytest.raises(error):
        read(bad)
    assert time.monotonic() - begin < 10
    with pytest.raises(ContentNotFound, match=r"not in the store .*\. .+"):
        read(StoreWithGateways(own, [bad]))
    assert kept(tmp_path) == set()
    good = Gateway(start(serving(other)).url)
    assert read(StoreWithGateways(own, [bad, good])) == CONTENT


def test_a_gateway_that_does_not_run_is_left_for_another_one(
    start: Start, own: LocalStore, other: LocalStore
) -> None:
    nobody = Gateway("http://127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match=r"http://127.0.0.1:1 cannot be reached"):
        read(nobody)
    assert read(StoreWithGateways(own, [nobody, Gateway(start(serving(other)).url)])) == CONTENT


def test_every_reason_is_told_when_no_gateway_helps(start: Start, own: LocalStore) -> None:
    gateways = [
        Gateway(start(BAD[kind][0]).url) for kind in ("404", "other bytes", "a redirection")
    ]
    with pytest.raises(
        ContentNotFound, match=r"not in the store.*does not have.*do not have that CID.*redirects"
    ):
        read(StoreWithGateways(own, gateways))


def test_10_gb_take_neither_memory_nor_disk(start: Start, own: LocalStore, tmp_path: Path) -> None:
    running = start(endless)
    tracemalloc.start()
    try:
        with pytest.raises(ContentNotFound, match="more than the"):
            read(StoreWithGateways(own, [Gateway(running.url)]), max_bytes=64 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert kept(tmp_path) == set()
    assert running.gone.wait(5)


def test_closing_a_stream_ends_the_request(start: Start) -> None:
    running = start(endless)
    with Gateway(running.url).get(CID, 1 << 40) as stream:
        stream.read(1000)
        assert not running.gone.is_set()
    assert running.gone.wait(5)


def test_a_full_disk_is_reported_and_no_other_gateway_is_asked(
    start: Start, own: LocalStore, other: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> Cid:
        raise StoreFull("There is no room.")

    monkeypatch.setattr(own, "put", full)
    first, second = start(serving(other)), start(serving(other))
    with pytest.raises(StoreFull):
        read(StoreWithGateways(own, [Gateway(first.url), Gateway(second.url)]))
    assert second.requests == []


# Connections that break


def breaking(at: int, honest: bool = True) -> Answer:
    """Breaks off at one place, and goes on from there when it is asked to."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        offset = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        begin = offset if honest else 0
        request.send_response(206 if offset else 200)
        request.send_header("Content-Length", str(len(CONTENT) - begin))
        if offset:
            request.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        request.end_headers()
        request.wfile.write(CONTENT[begin:at] if begin < at else CONTENT[begin:])

    return answer


@pytest.mark.parametrize("at", [1, 1_000_000, len(CONTENT) - 1])
def test_a_download_is_taken_up_where_it_broke_off(start: Start, at: int) -> None:
    running = start(breaking(at))
    assert read(Gateway(running.url)) == CONTENT
    assert [wanted for _, wanted in running.requests] == [None, f"bytes={at}-"]


def test_a_download_is_not_taken_up_at_another_place(start: Start) -> None:
    with pytest.raises(StoreUnavailable, match="another range"):
        read(Gateway(start(breaking(1_000_000, honest=False)).url))


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway.example",
        "ftp://gateway.example",
        "file:///etc",
        "https://",
        "https://user:secret@gateway.example",
        "https://gateway.example?key=secret",
        "https://gateway.example#secret",
        "https://gateway.example:port",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_of_a_gateway_is_refused_and_not_shown(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(StoreUrlError, match="gateway URL") as caught:
        open_store(tmp_path.as_uri(), [url])
    assert "secret" not in str(caught.value)


def test_the_path_of_a_gateway_is_not_shown() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        read(Gateway("http://127.0.0.1:1/secret"))
    assert "secret" not in str(caught.value)
