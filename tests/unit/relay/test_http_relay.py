"""A relay on the other side of a network: what it takes, and what it cannot do to its users."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from structlog.testing import capture_logs
from support.disk import overwrite
from support.federation import SmallFederation
from support.observations import SOME_CID
from support.relays import drain, entry_of, open_relay

from fl_orchestrator.chain.types import Phase, SignedCommit, Update
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.errors import InputError
from fl_orchestrator.relay import client as module
from fl_orchestrator.relay.client import HttpRelay
from fl_orchestrator.relay.service import relay_app
from fl_orchestrator.relay.serving import CannotListen, serving
from fl_orchestrator.relay.throttle import DOWNLOADS_PER_CLIENT
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.relay import RelayFailed

UPDATE = Update("0x" + "11" * 20, 1, b"\1" * 32, SOME_CID, b"\2" * 32)
# The server closes each connection after its answer. Without this header, the next request could be
# sent on a connection that is being closed.
CLOSE = b"Connection: close\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + CLOSE + b"Content-Length: 2\r\n\r\n{}"


class Relayed:
    """A federation, the relay of its keeper at a URL, and a store of the keeper's own."""

    def __init__(self, federation: SmallFederation, directory: Path) -> None:
        self.federation = federation
        self.directory = directory
        self.store = LocalStore(directory / "keepers store")
        self.port = 0
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[Keeper]:
        """A keeper's process, whose relay is at the same address whenever it runs."""
        relay = open_relay(self.federation, self.directory, store=self.store)
        with serving(relay_app(relay), "127.0.0.1", self.port) as self.url:
            self.port = int(self.url.rpartition(":")[2])
            self.federation.mailbox = relay.box
            yield self.federation.keeper(1)
        relay.box.close()


@pytest.fixture
def relayed(tmp_path: Path) -> Relayed:
    """Three parties without coin, each with a store that nobody else sees."""
    federation = SmallFederation(tmp_path / "federation", parties=3)
    for key in federation.parties:
        drain(federation, key)
    return Relayed(federation, tmp_path / "relay")


def party_store(relayed: Relayed, number: int) -> LocalStore:
    """A party's own store, which has what everybody starts with."""
    federation = relayed.federation
    store = LocalStore(relayed.directory / f"party {number}")
    with federation.store.get(federation.genesis.cid, 1 << 20) as stream:
        store.put(stream)
    return store


def test_parties_without_any_coin_complete_a_round(relayed: Relayed) -> None:
    federation = relayed.federation
    with relayed.running() as keeper:
        relay = HttpRelay(relayed.url)
        parties = [
            federation.party(i, relay=relay, store=party_store(relayed, i)) for i in range(3)
        ]
        with federation.store.get(federation.genesis.cid, 1 << 20) as stream:
            relayed.store.put(stream)
        # Whoever reads the keeper's store has everything.
        aggregator = federation.aggregator(0, relay=relay, store=relayed.store)
        seen = federation.run_round([*parties, aggregator], keeper=keeper)
    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 3)
    assert federation.included() == {0, 1, 2}
    sent = Counter(receipt.label for receipt in federation.receipts)
    assert (sent["commitFor"], sent["reveal"], sent["attest"]) == (1, 1, 1)
    assert sent["commit"] == 0


def test_a_relay_that_dies_after_it_took_messages_sends_them_when_it_is_back(
    relayed: Relayed,
) -> None:
    federation = relayed.federation
    federation.open_round()
    with relayed.running():
        parties = [federation.party(i, relay=HttpRelay(relayed.url)) for i in range(3)]
        assert [p.step().action for p in parties] == ["post commit"] * 3
    with relayed.running() as keeper:
        assert keeper.step().action == "commitFor"
        posted = parties[0].step()
        assert posted.action == "post reveal"
    # Dead: these two have no coin either.
    assert [p.step().action for p in parties[1:]] == [None, None]
    with relayed.running() as keeper:
        federation.pass_until(federation.due_at(parties[1].step()))
        assert [p.step().action for p in parties[1:]] == ["post reveal"] * 2
        assert keeper.step().action == "reveal"
    assert federation.observe().current.reveals == 3
    assert all(relayed.store.has(entry_of(federation, i).update.cid) for i in range(3))


def test_an_address_that_is_taken_is_named(relayed: Relayed) -> None:
    app = relay_app(open_relay(relayed.federation, relayed.directory))
    with (
        relayed.running(),
        pytest.raises(CannotListen, match=rf"127.0.0.1:{relayed.port}: Address already in use\."),
        serving(app, "127.0.0.1", relayed.port),
    ):
        pytest.fail("it listens")
    with pytest.raises(CannotListen, match=r"\.\."), serving(app, "..", 0):
        pytest.fail("it listens")


def test_a_defect_is_a_line_of_the_log_and_a_strangers_mistake_is_none(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(_: Request) -> None:
        raise KeyError("a defect")

    app = Starlette(routes=[Route("/", fail)])
    with capture_logs() as lines, serving(app, "127.0.0.1", 0) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as stranger:
            stranger.sendall(b"no HTTP\r\n\r\n")
            assert b"400" in stranger.recv(100)
        assert lines == []
        assert requests.get(url, timeout=10).status_code == 500
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "HTTP service failed")
    ]
    assert capfd.readouterr().err == ""


def test_a_download_that_breaks_off_is_told_without_a_traceback(relayed: Relayed) -> None:
    cid = relayed.store.put(io.BytesIO(bytes(10_000)))
    file = relayed.store.locate(cid)
    assert file is not None
    overwrite(file, bytes(9_999) + b"x")
    with capture_logs() as lines, relayed.running():
        for _ in range(DOWNLOADS_PER_CLIENT + 1):
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                requests.get(f"{relayed.url}/ipfs/{cid}", timeout=10)
    assert "ContentCorrupt" in {line.get("error") for line in lines}
    assert not any(line.get("exc_info") for line in lines)


# What a relay may answer


@contextlib.contextmanager
def answering(*answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats its connections one after the other as it was told; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def says(data: bytes) -> Callable[[socket.socket], None]:
    """Answer after the whole request: closing with unread bytes would reset the connection."""

    def answer(connection: socket.socket) -> None:
        with connection.makefile("rb") as request:
            request.readline()
            length = http.client.parse_headers(request)["Content-Length"]
            request.read(int(length))
        connection.sendall(data)

    return answer


def relay_at(url: str) -> HttpRelay:
    return HttpRelay(url, sleep=lambda _: None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            "307",
        ),
        (b'HTTP/1.1 403 No\r\nContent-Length: 17\r\n\r\n{"error":"never"}', "403: 'never'"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", "500"),
        (b"garbage\r\n\r\n", "does not answer"),
        (b"", "does not answer"),
        (b"HTTP/1.1 400 No\r\n\r\n" + b"x" * 100_000, "400: ''"),
        (b"HTTP/1.1 400 No\r\n\r\n" + b'{"error":5}', "400: '5'"),
    ],
    ids=["redirect", "refusal", "error", "garbage", "nothing", "much", "number"],
)
def test_whatever_a_relay_answers_is_a_failure_in_one_sentence(answer: bytes, words: str) -> None:
    with answering(*[says(answer)] * 3) as url, pytest.raises(RelayFailed) as failure:
        relay_at(url).post_reveal(1, UPDATE)
    assert words in failure.value.message
    assert len(failure.value.message) < 300


def test_what_may_pass_is_tried_again() -> None:
    early = b"HTTP/1.1 425 Too Early\r\n" + CLOSE + b"Retry-After: 1\r\nContent-Length: 2\r\n\r\n{}"
    paused: list[float] = []
    with answering(says(early), says(b""), says(OK)) as url:
        HttpRelay(url, sleep=paused.append).post_reveal(1, UPDATE)
    assert paused == [0.0, 1.0, 1.0]


def test_an_answer_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MESSAGE_SECONDS", 0.6)

    def dribble(connection: socket.socket) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
            connection.sendall(bytes([letter]))
            time.sleep(0.05)

    began = time.monotonic()
    with answering(dribble) as url, pytest.raises(RelayFailed, match="does not answer"):
        relay_at(url).post_reveal(1, UPDATE)
    assert time.monotonic() - began < 3


def test_an_upload_ends_with_the_time_it_was_given(tmp_path: Path) -> None:
    """The relay takes the announcement, and then never reads."""
    file = tmp_path / "update"
    file.write_bytes(bytes(20 << 20))
    ended = threading.Event()

    def stall(connection: socket.socket) -> None:
        ended.wait(10)

    began = time.monotonic()
    with answering(says(OK), stall) as url, pytest.raises(RelayFailed, match="does not answer"):
        relay_at(url).put_update(1, UPDATE, file, seconds=0.6)
    ended.set()
    assert time.monotonic() - began < 5


def test_what_ran_out_of_time_is_not_begun_again(tmp_path: Path) -> None:
    file = tmp_path / "update"
    file.write_bytes(bytes(20 << 20))
    begun: list[socket.socket] = []
    ended = threading.Event()

    def stall(connection: socket.socket) -> None:
        begun.append(connection)
        ended.wait(10)

    with answering(says(OK), stall, stall) as url:
        with pytest.raises(RelayFailed, match="in time"):
            relay_at(url).put_update(1, UPDATE, file, seconds=0.6)
        ended.set()
        time.sleep(0.3)
        with pytest.raises(RelayFailed, match="in time"):
            relay_at(url).put_update(1, UPDATE, file, seconds=0)
        time.sleep(0.3)
    assert len(begun) == 1


def test_a_proxy_is_asked_not_to_compress_what_a_relay_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, str]] = []

    def refuse(*_: object, headers: dict[str, str], **__: object) -> requests.Response:
        asked.append(headers)
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(RelayFailed):
        relay_at("http://127.0.0.1:1").post_reveal(1, UPDATE)
    assert {headers["Accept-Encoding"] for headers in asked} == {"identity"}


def test_a_relay_that_is_not_there_fails_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RelayFailed, match="does not answer"):
        relay_at(f"http://127.0.0.1:{port}").post_commit(
            1, SignedCommit(UPDATE.party, b"\1" * 32, b"\2" * 32, b"\3" * 32)
        )


@pytest.mark.parametrize(
    "url",
    ["", "keeper.example", "ftp://x", "http://", "http://u:p@x", "http://x?k=1", "http://[::1"],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        HttpRelay(url)
