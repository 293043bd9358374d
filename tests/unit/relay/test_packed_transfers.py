"""Updates and models that go through a relay in fewer bytes, and what must not get through."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from starlette.testclient import TestClient
from support.federation import SmallFederation
from support.private_federation import SmallPrivateFederation
from support.relays import client_of, entry_of, open_relay

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.gateway import Gateway
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.relay import client as module
from fl_orchestrator.relay.client import HttpRelay
from fl_orchestrator.relay.messages import RevealMessage
from fl_orchestrator.relay.service import RelayServer, relay_app
from fl_orchestrator.relay.serving import serving
from fl_orchestrator.transport import packing
from fl_orchestrator.transport.packing import CODING, Unpacker, packed

zstd = pytest.importorskip("backports.zstd")

PACKS = {"Accept-Encoding": CODING}
IN_THE_CODING = {"Content-Encoding": CODING}


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    """In its reveal phase."""
    federation = SmallFederation(tmp_path / "federation", parties=3)
    federation.open_round()
    for number in range(3):
        assert federation.party(number).step().action == "commit"
    assert federation.observe().current.phase is Phase.REVEAL
    return federation


@pytest.fixture
def relay(federation: SmallFederation, tmp_path: Path) -> RelayServer:
    return open_relay(federation, tmp_path / "relay", store=LocalStore(tmp_path / "keepers store"))


@pytest.fixture
def client(relay: RelayServer) -> Iterator[TestClient]:
    with client_of(relay) as client:
        yield client


def announce(client: TestClient, federation: SmallFederation, number: int = 0) -> dict[str, Any]:
    update = entry_of(federation, number).update
    body = RevealMessage.of(1, update).model_dump()
    answer: dict[str, Any] = client.post("/v1/uploads", json=body).json()
    return answer


def refused(response: Any, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert words in response.json()["error"]


def unpack(data: bytes) -> bytes:
    unpacker = Unpacker()
    found = b"".join(unpacker.unpacked(data))
    assert unpacker.is_whole
    return found


def test_who_asks_for_it_gets_packed_content_and_others_do_not(
    client: TestClient, relay: RelayServer
) -> None:
    content = (np.arange(500_000, dtype=np.int32) // 7).tobytes()
    cid = relay.store.put(io.BytesIO(content))
    relay = dataclasses.replace(relay, max_content_bytes=len(content))
    with client_of(relay) as client, client.stream("GET", f"/ipfs/{cid}", headers=PACKS) as answer:
        data = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == CODING
        assert answer.headers["vary"] == "Accept-Encoding"
    assert len(data) < len(content) / 2
    assert unpack(data) == content
    with client_of(relay) as client:
        for headers in ({}, {"Accept-Encoding": "zstd, gzip"}):
            plain = client.get(f"/ipfs/{cid}", headers=headers)
            assert plain.content == content
            assert "content-encoding" not in plain.headers
            assert plain.headers["vary"] == "Accept-Encoding"
        # A range is one of the plain bytes.
        rest = client.get(f"/ipfs/{cid}", headers={**PACKS, "Range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, content[1000:])
    assert "content-encoding" not in rest.headers


def test_a_packed_update_is_stored_as_it_was_committed_to(
    federation: SmallFederation, relay: RelayServer, client: TestClient
) -> None:
    assert announce(client, federation)["codings"] == [CODING]
    entry = entry_of(federation, 0)
    content = entry.path.read_bytes()
    answer = client.put(
        f"/v1/uploads/{entry.update.cid}",
        content=b"".join(packed([content])),
        headers=IN_THE_CODING,
    )
    assert answer.json() == {"stored": True}
    with relay.store.get(entry.update.cid, len(content)) as stored:
        assert stored.read() == content


def empty_blocks(count: int) -> bytes:
    """The beginning of a frame, and so many blocks of no bytes."""
    frame: bytes = zstd.compress(b"")
    return frame[:-3] + bytes(3) * count


def zeros(mebibytes: int) -> bytes:
    return b"".join(packed(bytes(1 << 20) for _ in range(mebibytes)))


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda content: zeros(2048), 413, "At most"),
        (lambda content: b"\x01" + empty_blocks(100_000), 413, "At most"),
        (lambda content: b"".join(packed([content + b"x"])), 422, "are not those"),
        (lambda content: b"".join(packed([content]))[:-1], 400, "ended before"),
        (lambda content: b"", 400, "ended before"),
        (lambda content: b"".join(packed([content])) + b"x", 400, "More was sent"),
        (lambda content: content, 400, "does not begin"),
        (lambda content: b"\x02" + content, 400, "cannot be unpacked"),
    ],
    ids=[
        "a bomb",
        "much of nothing",
        "another file",
        "cut off",
        "nothing",
        "more",
        "plain",
        "no frame",
    ],
)
def test_what_is_no_packed_update_is_refused_and_not_kept(
    federation: SmallFederation,
    relay: RelayServer,
    client: TestClient,
    change: Callable[[bytes], bytes],
    status: int,
    words: str,
) -> None:
    announce(client, federation)
    entry = entry_of(federation, 0)
    path, content = f"/v1/uploads/{entry.update.cid}", entry.path.read_bytes()
    # Without a length, which would end some of these before they are read.
    body = iter([change(content)])
    refused(client.put(path, content=body, headers=IN_THE_CODING), status, words)
    assert not relay.store.has(entry.update.cid)
    assert client.put(path, content=content).json() == {"stored": True}


def test_other_codings_are_refused(federation: SmallFederation, client: TestClient) -> None:
    announce(client, federation)
    path = f"/v1/uploads/{entry_of(federation, 0).update.cid}"
    for coding in ("gzip", "zstd", "br", f"{CODING}, gzip"):
        refused(client.put(path, content=b"x", headers={"Content-Encoding": coding}), 415, "coding")


def test_a_relay_without_the_library_works_as_before(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "is_available", lambda: False)
    relay = open_relay(federation, tmp_path / "relay", store=LocalStore(tmp_path / "keepers store"))
    monkeypatch.undo()
    with client_of(relay) as client:
        assert announce(client, federation)["codings"] == []
        cid = relay.store.put(io.BytesIO(b"a manifest"))
        assert client.get(f"/ipfs/{cid}", headers=PACKS).content == b"a manifest"
        path = f"/v1/uploads/{entry_of(federation, 0).update.cid}"
        refused(client.put(path, content=b"\x02", headers=IN_THE_CODING), 415, "coding")


def test_in_a_private_federation_nothing_is_packed(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path / "federation")
    relay = open_relay(private, tmp_path / "relay")
    assert not relay.packs
    with client_of(relay) as client:
        genesis = client.get(f"/ipfs/{private.genesis.cid}", headers=PACKS)
        assert "content-encoding" not in genesis.headers
        path = f"/v1/uploads/{private.genesis.cid}"
        refused(client.put(path, content=b"\x02", headers=IN_THE_CODING), 415, "coding")


# From end to end


@contextlib.contextmanager
def running(relay: RelayServer) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """The URL of a relay, and the method, the coding and the bytes of each file that it took."""
    app, seen = relay_app(relay), []

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        size = 0

        async def counted() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message

        await app(scope, counted, send)
        if scope.get("method") == "PUT":
            coding = headers.get(b"content-encoding", b"identity").decode()
            seen.append((headers[b"content-length"].decode(), coding, size))

    with serving(counting, "127.0.0.1", 0) as url:
        yield url, seen
    relay.box.close()


def test_a_partys_update_is_uploaded_and_fetched_again_in_the_coding(
    federation: SmallFederation, relay: RelayServer, tmp_path: Path
) -> None:
    entry = entry_of(federation, 0)
    content = entry.path.read_bytes()
    with running(relay) as (url, seen):
        HttpRelay(url).put_update(1, entry.update, entry.path, 30)
        ((length, coding, size),) = seen
        assert (coding, int(length)) == (CODING, size)
        assert size < len(content)
        with Gateway(url).get(entry.update.cid, len(content)) as stream:
            assert stream.read() == content
        raw = requests.get(f"{url}/ipfs/{entry.update.cid}", headers=PACKS, timeout=10)
        assert unpack(raw.content) == content


@pytest.mark.parametrize(
    "old",
    ["the relay", "the party", "what does not become smaller", "no room"],
)
def test_an_update_is_uploaded_as_it_is_where_it_cannot_be_packed(
    federation: SmallFederation, relay: RelayServer, monkeypatch: pytest.MonkeyPatch, old: str
) -> None:
    entry = entry_of(federation, 0)
    content = entry.path.read_bytes()
    if old == "the relay":
        relay = dataclasses.replace(relay, packs=False)
    if old == "the party":
        monkeypatch.setattr(module, "_takes_packed", lambda answer: False)
    if old == "what does not become smaller":
        monkeypatch.setattr(packing, "packed", lambda pieces: [b"x" * len(b"".join(pieces))])
    if old == "no room":
        monkeypatch.setattr(packing, "packed", full_disk)
    with running(relay) as (url, seen):
        HttpRelay(url).put_update(1, entry.update, entry.path, 30)
    assert [(coding, size) for _, coding, size in seen] == [("identity", len(content))]
    with relay.store.get(entry.update.cid, len(content)) as stored:
        assert stored.read() == content


def full_disk(pieces: Any) -> Iterator[bytes]:
    next(iter(pieces))
    raise OSError(28, "No space left on device")
    yield b""
