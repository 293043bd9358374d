"""A real Kafka broker has each event of a federation exactly once, whatever is killed."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from jsonschema import Draft202012Validator
from support.federation import SmallFederation
from support.kafka_broker import KafkaBroker, kafka_broker
from support.reorg import Fork

from fl_orchestrator.tracking import background, kafka
from fl_orchestrator.tracking.background import Tracking
from fl_orchestrator.tracking.by_name import Place, tracker_named
from fl_orchestrator.tracking.event import Event, Kind, federation_id
from fl_orchestrator.tracking.kafka import KafkaTracker, KafkaUnavailable
from fl_orchestrator.tracking.position import Position
from fl_orchestrator.tracking.source import EventSource
from fl_orchestrator.tracking.tracker import TrackerEnded

WAIT_SECONDS = 90.0


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    return SmallFederation(tmp_path)


@pytest.fixture
def topic(broker: KafkaBroker, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name)
    broker.create(name, partitions=3)
    return name


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_RETRY_SECONDS", (0.1, 1.0))


def id_of(federation: SmallFederation) -> str:
    return federation_id(federation.federation.chain_id, federation.federation.address)


def tracking(
    federation: SmallFederation, broker: KafkaBroker, topic: str, path: Path | None = None
) -> Tracking:
    opened = tracker_named(f"kafka://{broker.address}/{topic}")
    place = Place(id_of(federation), "watcher", federation.directory)
    begin = federation.deployment.block
    return Tracking(topic, lambda: opened(place), federation.federation, begin, path)


def all_events(federation: SmallFederation) -> list[Event]:
    """What the chain has, read without a tracker."""
    position = Position(federation=id_of(federation))
    source = EventSource(federation.federation, federation.deployment.block, position)
    found: list[Event] = []
    while (batch := source.read(federation.observe().block_number)) is not None:
        found.extend(batch.events)
    return found


def values(broker: KafkaBroker, topic: str) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in broker.records(topic)]


def ids(records: Sequence[dict[str, Any]]) -> list[str]:
    return [record["id"] for record in records]


def test_the_topic_has_every_event_once_under_the_federations_key(
    broker: KafkaBroker, topic: str, federation: SmallFederation, checkout: Path
) -> None:
    federation.run_round(federation.everybody())
    tracked = tracking(federation, broker, topic)
    tracked.report(Kind.EVALUATED, 1, {"loss": float("nan"), "auc": 0.9})
    tracked.close(WAIT_SECONDS)
    records = broker.records(topic)
    assert {key for key, _ in records} == {id_of(federation).encode()}
    found = values(broker, topic)
    (evaluated,) = (record for record in found if record["kind"] == Kind.EVALUATED)
    rest = [record for record in found if record != evaluated]
    assert ids(rest) == [event.id for event in all_events(federation)]
    assert evaluated["values"] == {"loss": None, "auc": 0.9, "not_finite": {"loss": "NaN"}}
    schema = json.loads((checkout / "docs" / "event.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    for record in found:
        Draft202012Validator(schema).validate(record)


def test_a_restart_writes_only_what_is_new_with_or_without_its_file(
    broker: KafkaBroker, topic: str, federation: SmallFederation, tmp_path: Path
) -> None:
    path = tmp_path / "position.json"
    tracking(federation, broker, topic, path).close(WAIT_SECONDS)
    federation.run_round(federation.everybody())
    tracking(federation, broker, topic, path).close(WAIT_SECONDS)
    path.unlink()
    federation.run_round(federation.everybody(), 2)
    tracking(federation, broker, topic, path).close(WAIT_SECONDS)
    expected = [event.id for event in all_events(federation)]
    assert ids(values(broker, topic)) == expected


def _killed_after_the_commit(address: str, topic: str, federation: str, event: Event) -> None:
    tracker = KafkaTracker({"bootstrap.servers": address}, topic, federation)
    tracker.resume(Position(federation=federation))
    tracker.deliver([event])
    os._exit(9)  # before the position is saved


def test_a_kill_between_commit_and_file_repeats_nothing(
    broker: KafkaBroker, topic: str, federation: SmallFederation, tmp_path: Path
) -> None:
    first = all_events(federation)[0]
    process = multiprocessing.get_context("spawn").Process(
        target=_killed_after_the_commit, args=(broker.address, topic, id_of(federation), first)
    )
    process.start()
    process.join(WAIT_SECONDS)
    assert process.exitcode == 9
    tracking(federation, broker, topic, tmp_path / "position.json").close(WAIT_SECONDS)
    assert ids(values(broker, topic)) == [event.id for event in all_events(federation)]


def test_a_reorganisation_is_compensated_record_by_record(
    broker: KafkaBroker, topic: str, federation: SmallFederation, tmp_path: Path
) -> None:
    path = tmp_path / "position.json"
    tracking(federation, broker, topic, path).close(WAIT_SECONDS)
    fork = Fork(federation.chain)
    federation.open_round()
    tracking(federation, broker, topic, path).close(WAIT_SECONDS)
    gone = ids(values(broker, topic))
    fork.reorganise()
    for seconds in (77, *[1] * 8):  # other blocks, to beyond the height of before
        federation.chain.mine(seconds)
    kept = [event.id for event in all_events(federation)]
    tracking(federation, broker, topic, path).close(WAIT_SECONDS)
    found = values(broker, topic)
    undone = [record["values"]["undoes"] for record in found if record["kind"] == Kind.UNDONE]
    assert undone == gone[: len(kept) - 1 : -1]
    assert ids(found) == gone + [f"undone:{known}" for known in undone]


def test_a_new_process_takes_over_and_the_old_one_ends(
    broker: KafkaBroker, topic: str, federation: SmallFederation
) -> None:
    def opened() -> KafkaTracker:
        tracker = KafkaTracker({"bootstrap.servers": broker.address}, topic, id_of(federation))
        tracker.resume(Position(federation=id_of(federation)))
        return tracker

    events = all_events(federation)
    old = opened()
    old.deliver(events[:1])
    new = opened()
    with pytest.raises(TrackerEnded, match="Another process"):
        old.deliver(events[1:2])
    new.deliver(events[1:])
    assert ids(values(broker, topic)) == [event.id for event in events]


def test_a_topic_that_is_not_there_is_said(broker: KafkaBroker) -> None:
    tracker = KafkaTracker({"bootstrap.servers": broker.address}, "missing", "eip155:1:0x0")
    with pytest.raises(KafkaUnavailable, match="topic"):
        tracker.resume(Position(federation="eip155:1:0x0"))


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_broker_that_is_killed_and_comes_back_misses_nothing(
    libraries: Path,
    tmp_path: Path,
    federation: SmallFederation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka, "_SECONDS", 5.0)
    with kafka_broker(libraries, tmp_path / "broker") as broker:
        broker.create("rounds")
        with structlog.testing.capture_logs() as logs:
            tracked = tracking(federation, broker, "rounds", tmp_path / "position.json")
            before = len(all_events(federation))
            until(lambda: not tracked.step().action and tracked._has_taken() and tracked._read())
            broker.kill()
            # The round goes on meanwhile.
            federation.run_round(federation.everybody())
            until(lambda: (tracked.step(), any("failed" in entry["event"] for entry in logs))[1])
            broker.start()
            tracked.close(WAIT_SECONDS)
        expected = [event.id for event in all_events(federation)]
        assert len(expected) > before
        assert ids(values(broker, "rounds")) == expected
        assert "a tracker works again" in [entry["event"] for entry in logs]
