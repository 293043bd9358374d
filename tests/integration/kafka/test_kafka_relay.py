"""Parties that reach a Kafka broker and nothing else take part; the relay checks them as always."""

from __future__ import annotations

import contextlib
import io
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from confluent_kafka import Producer
from integration.anvil_node import anvil_node
from integration.anvil_site import Site
from starlette.datastructures import Headers
from support.federation import SmallFederation
from support.flo import finish, start_flo
from support.kafka_broker import KafkaBroker
from support.relays import drain, entry_of, open_relay

from fl_orchestrator.chain.types import Phase, SignedCommit
from fl_orchestrator.content.gateway import Gateway, StoreWithGateways
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.members.connection import open_content
from fl_orchestrator.members.connection import open_relay as relay_at
from fl_orchestrator.relay import client
from fl_orchestrator.relay.client import HttpRelay
from fl_orchestrator.relay.kafka import bridge as module
from fl_orchestrator.relay.kafka import frames, tunnel
from fl_orchestrator.relay.kafka.bridge import Bridge, bridged
from fl_orchestrator.relay.kafka.frames import REQUESTS, Head, write_parts
from fl_orchestrator.relay.kafka.tunnel import KafkaUnreachable, Tunnel, tunnel_to
from fl_orchestrator.relay.service import relay_app
from fl_orchestrator.relay.serving import serving
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.relay import RelayFailed
from fl_orchestrator.tracking.kafka_address import BadKafkaAddress
from fl_orchestrator.transport.packing import CODING, Unpacker

MOST_BYTES = 4 << 20


class Relayed:
    """A federation of parties without coin, and its keeper's relay behind a topic."""

    def __init__(self, directory: Path, broker: KafkaBroker, topic: str) -> None:
        self.federation = SmallFederation(directory / "federation", parties=3)
        for key in self.federation.parties:
            drain(self.federation, key)
        self.store = LocalStore(directory / "keepers store")
        self.directory = directory
        self.settings = {"bootstrap.servers": broker.address}
        self.topic = topic
        self.codings: list[str | None] = []
        self.address = f"kafka://{broker.address}/{topic}"
        for ending in ("-requests", "-answers"):
            broker.create(topic + ending, partitions=2)

    @contextlib.contextmanager
    def running(self) -> Iterator[Keeper]:
        relay = open_relay(self.federation, self.directory, store=self.store)
        app = relay_app(relay)

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            if scope["method"] == "PUT":
                self.codings.append(Headers(scope=scope).get("content-encoding"))
            await app(scope, receive, send)

        with serving(noting, "127.0.0.1", 0) as url:
            address = self.federation.federation.address
            with bridged(Bridge(self.settings, self.topic, url, address, MOST_BYTES)):
                self.federation.mailbox = relay.box
                yield self.federation.keeper(1)
        relay.box.close()

    def tunnel(self) -> Tunnel:
        return Tunnel(self.settings, self.topic)


@pytest.fixture
def relayed(broker: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest) -> Relayed:
    return Relayed(tmp_path, broker, str(request.node.name))


def wait_for_bridge(url: str) -> None:
    """Until the bridge has its partitions; what is asked before is lost, as on any new topic."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/healthz", timeout=3).status_code in (200, 400):
                return
    raise AssertionError("the bridge does not answer")


def test_parties_that_reach_only_kafka_complete_a_round_without_coin(relayed: Relayed) -> None:
    federation = relayed.federation
    with federation.store.get(federation.genesis.cid, 1 << 20) as stream:
        relayed.store.put(stream)
    with relayed.running() as keeper:
        tunnels = [relayed.tunnel() for _ in range(3)]
        for one in tunnels:
            wait_for_bridge(one.url)
        parties = [
            federation.party(
                i,
                relay=HttpRelay(one.url),
                store=StoreWithGateways(
                    LocalStore(relayed.directory / f"party {i}"), [Gateway(one.url)]
                ),
            )
            for i, one in enumerate(tunnels)
        ]
        aggregator = federation.aggregator(0, store=relayed.store)
        seen = federation.run_round([*parties, aggregator], keeper=keeper)
    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 3)
    assert federation.included() == {0, 1, 2}
    sent = Counter(receipt.label for receipt in federation.receipts)
    assert (sent["commitFor"], sent["reveal"], sent["commit"]) == (1, 1, 0)


def test_content_of_many_parts_arrives_whole_and_a_lie_of_its_length_is_refused(
    relayed: Relayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "PART_BYTES", 50_000)
    large = secrets.token_bytes(600_017)
    cid = relayed.store.put(io.BytesIO(large))
    with relayed.running():
        url = relayed.tunnel().url
        wait_for_bridge(url)
        with Gateway(url).get(cid, len(large)) as stream:
            assert stream.read() == large
        # A download that broke off goes on where it was.
        again = requests.get(f"{url}/ipfs/{cid}", headers={"Range": "bytes=400001-"}, timeout=60)
        assert (again.status_code, again.content) == (206, large[400_001:])
        assert again.headers["Content-Range"] == "bytes 400001-600016/600017"
        unknown = requests.put(f"{url}/v1/uploads/{cid}", data=b"x" * 10, timeout=60)
        assert unknown.status_code == 200  # the store has it, so nothing is read
        too_long = requests.put(f"{url}/v1/uploads/{cid}", data=b"x" * (MOST_BYTES + 1), timeout=60)
        assert too_long.status_code == 413
        other = requests.get(f"{url}/openapi.json", timeout=60)
        assert (other.status_code, "no request" in other.text) == (400, True)


def test_files_go_through_the_topics_in_fewer_bytes(relayed: Relayed) -> None:
    pytest.importorskip("backports.zstd")
    content = (np.arange(150_000, dtype=np.int32) // 9).tobytes()
    cid = relayed.store.put(io.BytesIO(content))
    federation = relayed.federation
    federation.open_round()
    for number in range(3):
        assert federation.party(number, relay=federation.mailbox).step().action == "post commit"
    assert federation.keeper(1).step().action == "commitFor"
    with relayed.running():
        url = relayed.tunnel().url
        wait_for_bridge(url)
        raw = requests.get(f"{url}/ipfs/{cid}", headers={"Accept-Encoding": CODING}, timeout=60)
        assert raw.headers["Content-Encoding"] == CODING
        assert len(raw.content) < len(content) / 2
        assert b"".join(Unpacker().unpacked(raw.content)) == content
        plain = requests.get(f"{url}/ipfs/{cid}", headers={"Accept-Encoding": "zstd"}, timeout=60)
        assert plain.content == content
        assert "Content-Encoding" not in plain.headers
        with Gateway(url).get(cid, len(content)) as stream:
            assert stream.read() == content
        # An upload keeps its coding, which the relay undoes.
        entry = entry_of(federation, 0)
        HttpRelay(url).put_update(1, entry.update, entry.path, 60)
        assert relayed.store.has(entry.update.cid)
    assert relayed.codings == [CODING]


def test_a_relay_that_is_away_is_a_failure_in_time(
    relayed: Relayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(client, "MESSAGE_SECONDS", 3.0)
    relay = HttpRelay(relayed.tunnel().url)
    party = relayed.federation.parties[0].address
    began = time.monotonic()
    with pytest.raises(RelayFailed):
        relay.post_commit(1, SignedCommit(party, b"\1" * 32, b"\2" * 32, b"\3" * 32))
    assert time.monotonic() - began < 30


def test_junk_gaps_and_floods_in_the_topic_do_not_stop_the_relay(
    relayed: Relayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 4)
    junk = Producer(relayed.settings)
    topic = relayed.topic + REQUESTS

    def send(**record: Any) -> None:
        junk.produce(topic, **record)

    with relayed.running():
        url = relayed.tunnel().url
        wait_for_bridge(url)
        for headers in (
            [],
            [("flo-id", b"short"), ("flo-part", b"0")],
            [("flo-id", b"x" * 16), ("flo-part", b"-1")],
            [("flo-id", b"x" * 16), ("flo-part", b"0"), ("flo-head", b"{" * 5000)],
            [("flo-id", b"x" * 16), ("flo-part", b"7")],
            [
                *(("flo-id", b"x" * 16), ("flo-part", b"0")),
                ("flo-head", Head(range="bytes=1-\r\nHost: x").to_json()),
            ],
        ):
            send(key=b"k", value=b"\0" * 100, headers=headers)
        for path in ("/v1/../../etc/passwd", "http://127.0.0.1:1/v1/status", "/v1/status?x=1"):
            head = Head(method="GET", path=path)
            write_parts(send, b"k", secrets.token_bytes(16), head, iter([]))
        for _ in range(50):  # requests that never end
            head = Head(method="PUT", path="/v1/uploads/x", length=100)
            headers = [
                *(("flo-id", secrets.token_bytes(16)), ("flo-part", b"0")),
                ("flo-head", head.to_json()),
            ]
            send(key=b"k", value=b"x", headers=headers)
        junk.flush(30)
        monkeypatch.setattr(module, "_IDLE_SECONDS", 0.5)
        deadline = time.monotonic() + 60
        while requests.get(f"{url}/v1/status", timeout=60).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_an_address_of_kafka_is_taken_wherever_a_relay_is_named(
    relayed: Relayed, broker: KafkaBroker, tmp_path: Path
) -> None:
    assert tunnel_to(relayed.address) == tunnel_to(relayed.address)
    relay = relay_at(relayed.address)
    assert isinstance(relay, HttpRelay)
    assert relay.url == tunnel_to(relayed.address)
    assert open_content((tmp_path / "own").as_uri(), "", relayed.address) is not None
    with pytest.raises(KafkaUnreachable, match="missing-answers"):
        relay_at(f"kafka://{broker.address}/missing")
    with pytest.raises(BadKafkaAddress):
        relay_at("kafka://host")


def test_the_commands_take_its_address(broker: KafkaBroker, checkout: Path, tmp_path: Path) -> None:
    """A keeper listens there, and a party without coin submits through it."""
    for ending in ("-requests", "-answers"):
        broker.create(f"commands{ending}")
    address = f"kafka://{broker.address}/commands"
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=["clinic"], aggregators=["university"])
        site.key("keeper")
        keeper = start_flo(
            *("keeper", "run", "--rounds", "1", *site.working("keeper")),
            *("--kafka-relay", address),
        )
        assert keeper.stderr is not None
        assert f"The relay is behind {address}." in next(iter(keeper.stderr))
        node.rpc("anvil_setBalance", site.address("clinic"), "0x0")
        deadline = time.monotonic() + 60
        while site.observe().current.phase is not Phase.COMMIT:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        own = (tmp_path / "store of clinic").as_uri()
        submission = site.submission("clinic", site.trained("clinic", 1))
        party = start_flo(*submission, "--store", own, "--relay", address, "--json")
        attesting = start_flo("aggregator", "attest", *site.working("university"), "--json")
        assert finish(party).succeeded().json == {"round": 1, "revealed": True, "counted": True}
        assert finish(attesting).succeeded().json["accepted"] is True
        finish(keeper).succeeded()
