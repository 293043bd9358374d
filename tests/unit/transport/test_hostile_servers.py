"""Every client of the product against servers that would hold it for ever."""

from __future__ import annotations

import io
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from support.gateway import gateway, serving
from support.hostile_server import ENDLESS, TLS, WRONG, Behaviour, front, hostile_server
from support.observations import SOME_CID
from support.rpc import rpc_endpoint

from fl_orchestrator.chain.nodes import endpoints
from fl_orchestrator.chain.nodes.connect import RpcUnavailable, connect
from fl_orchestrator.chain.signing import http_signer
from fl_orchestrator.chain.signing.http_signer import SignerUnavailable
from fl_orchestrator.chain.signing.keys import Signer
from fl_orchestrator.chain.signing.remote_signer import RemoteSigner
from fl_orchestrator.chain.signing.web3signer import Web3Signer
from fl_orchestrator.chain.types import SignedCommit, Update
from fl_orchestrator.content import download, kubo
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.gateway import Gateway, StoreWithGateways
from fl_orchestrator.content.kubo import KuboStore
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.errors import ContentError, FloError
from fl_orchestrator.relay import client
from fl_orchestrator.relay.client import HttpRelay
from fl_orchestrator.roles.relay import RelayFailed

SECONDS: Final = 0.15
# Requests that may be repeated are made a few times, the first one imports its client, and the
# machine may be busy. Without a deadline none would ever end.
PATIENCE_SECONDS: Final = 20.0
ACCOUNT: Final = "0x" + "11" * 20
CONTENT: Final = b"a few bytes of content"
CID: Final = cid_of(io.BytesIO(CONTENT))


@pytest.fixture(autouse=True)
def _short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_TIMEOUT_SECONDS", SECONDS)
    monkeypatch.setattr(endpoints, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(http_signer, "_TIMEOUT_SECONDS", SECONDS)
    monkeypatch.setattr(kubo, "_ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(client, "MESSAGE_SECONDS", SECONDS)
    monkeypatch.setattr(client, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(download, "BACK_OFF_SECONDS", (0.01, 0.01))


# ---------------------------------------------------------------------- the clients


def kubo_at(url: str) -> KuboStore:
    scheme, _, place = url.partition("://")
    host, _, port = place.partition(":")
    return KuboStore(host, int(port), secure=scheme == "https", timeout_seconds=SECONDS)


def read_through_kubo(url: str) -> None:
    with kubo_at(url).get(CID, 100) as stream:
        stream.read()


def read_through_a_gateway(url: str) -> None:
    with Gateway(url, stall_seconds=SECONDS).get(CID, 100) as stream:
        stream.read()


def upload_to_a_relay(url: str) -> None:
    commit = SignedCommit(ACCOUNT, bytes(32), bytes(32), bytes(32))
    HttpRelay(url).post_commit(1, commit)


def sign_remotely(kind: Callable[[str], Signer], url: str) -> None:
    fee = {"maxFeePerGas": 1, "maxPriorityFeePerGas": 1, "gas": 1, "value": 0, "data": b""}
    kind(f"{url}#{ACCOUNT}").sign_transaction({"chainId": 1, "nonce": 0, **fee})


CLIENTS: Final[dict[str, tuple[Callable[[str], Any], type[FloError]]]] = {
    "gateway": (read_through_a_gateway, ContentError),
    "IPFS node": (read_through_kubo, ContentError),
    "IPFS node, upload": (lambda url: kubo_at(url).put(io.BytesIO(CONTENT)), ContentError),
    "relay": (upload_to_a_relay, RelayFailed),
    "RPC endpoint": (connect, RpcUnavailable),
    "remote signer": (partial(sign_remotely, RemoteSigner), SignerUnavailable),
    "Web3Signer": (partial(sign_remotely, Web3Signer), SignerUnavailable),
}


def ends_in_time(call: Callable[[], Any], error: type[FloError]) -> FloError:
    start = time.monotonic()
    with pytest.raises(error) as caught:
        call()
    assert time.monotonic() - start < PATIENCE_SECONDS
    return caught.value


# ---------------------------------------------------------------------- alone


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("behaviour", [*ENDLESS, *WRONG])
def test_a_server_holds_no_client_and_fills_no_memory(name: str, behaviour: str) -> None:
    use, error = CLIENTS[name]
    behave = {**ENDLESS, **WRONG}[behaviour]
    tracemalloc.start()
    try:
        with hostile_server(behave) as port:
            ends_in_time(lambda: use(f"http://127.0.0.1:{port}"), error)
        # The server is in this process: a part of it is what it sends.
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("behaviour", TLS)
def test_a_tls_handshake_holds_no_client(name: str, behaviour: str) -> None:
    use, error = CLIENTS[name]
    with hostile_server(TLS[behaviour]) as port:
        ends_in_time(lambda: use(f"https://127.0.0.1:{port}"), error)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_name_that_is_never_resolved_holds_no_client(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use, error = CLIENTS[name]
    never = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        never.wait(60)
        raise OSError("the test has ended")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        ends_in_time(lambda: use("http://hostile.example:80"), error)
    finally:
        never.set()


@pytest.mark.parametrize("name", CLIENTS)
def test_a_machine_that_takes_no_connection_holds_no_client(name: str) -> None:
    use, error = CLIENTS[name]
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # The queue of connections that nobody accepts is full.
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        try:
            ends_in_time(lambda: use(f"http://127.0.0.1:{full.getsockname()[1]}"), error)
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("reads", [True, False])
def test_a_server_that_takes_no_more_of_an_upload_does_not_hold_it(
    reads: bool, tmp_path: Path
) -> None:
    file = tmp_path / "update"
    file.write_bytes(bytes(64 << 20))

    def stop_reading(client: socket.socket, wait: Callable[[float], bool]) -> None:
        while not wait(1):
            pass

    with hostile_server(stop_reading, reads=reads) as port:
        url = f"http://127.0.0.1:{port}"
        with file.open("rb") as stream:
            ends_in_time(lambda: kubo_at(url).put(stream), ContentError)
        update = Update(ACCOUNT, 1, bytes(32), SOME_CID, bytes(32))
        relay = HttpRelay(url)
        ends_in_time(lambda: relay.put_update(1, update, file, SECONDS), RelayFailed)


def test_no_watch_is_left_behind() -> None:
    with hostile_server(ENDLESS["drips a header"]) as port:
        for use, error in CLIENTS.values():
            ends_in_time(lambda use=use: use(f"http://127.0.0.1:{port}"), error)  # type: ignore[misc]
    end = time.monotonic() + PATIENCE_SECONDS
    while left := [t.name for t in threading.enumerate() if t.name == "deadline"]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


def test_a_server_that_has_recovered_serves_those_whom_it_has_held(tmp_path: Path) -> None:
    behind = LocalStore(tmp_path / "behind")
    behind.put(io.BytesIO(CONTENT))
    with gateway(serving(behind)) as honest, front(int(honest.url.rpartition(":")[2])) as before:

        def read() -> bytes:
            with Gateway(before.url, stall_seconds=SECONDS).get(CID, 100) as stream:
                return stream.read()

        assert read() == CONTENT
        before.drips = True
        for _ in ENDLESS:
            ends_in_time(read, ContentError)
        assert (before.drip.held, len(honest.requests)) == (len(ENDLESS), 1)
        before.drips = False
        assert read() == CONTENT


# ---------------------------------------------------------------------- with another to turn to


# The honest one has to answer in time, too, on a busy machine.
FAILOVER_SECONDS: Final = 1.0
EVERY: Final[dict[str, Behaviour]] = {
    name: {**ENDLESS, **WRONG}[name]
    for name in (
        "drips a header",
        "sends 100 Continue without end",
        "drips a chunk extension",
        *WRONG,
    )
}


@pytest.mark.parametrize("behaviour", EVERY)
def test_a_hostile_endpoint_is_left_for_another(
    behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "_TIMEOUT_SECONDS", FAILOVER_SECONDS)
    with hostile_server(EVERY[behaviour]) as port, rpc_endpoint() as honest:
        honest.serves(5, eth_blockNumber="0x9")
        start = time.monotonic()
        web3 = connect([f"http://127.0.0.1:{port}", honest.url])
        assert (web3.eth.chain_id, web3.eth.block_number) == (5, 9)
        assert time.monotonic() - start < PATIENCE_SECONDS


@pytest.mark.parametrize("behaviour", EVERY)
def test_a_hostile_gateway_is_left_for_another(behaviour: str, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    other.put(io.BytesIO(CONTENT))
    with hostile_server(EVERY[behaviour]) as port, gateway(serving(other)) as honest:
        hostile = Gateway(f"http://127.0.0.1:{port}", stall_seconds=FAILOVER_SECONDS)
        store = StoreWithGateways(LocalStore(tmp_path / "own"), [hostile, Gateway(honest.url)])
        start = time.monotonic()
        with store.get(CID, 100) as stream:
            assert stream.read() == CONTENT
        assert time.monotonic() - start < PATIENCE_SECONDS
