"""Kafka with TLS, passwords and access lists, as a company runs it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType
from support.federation import SmallFederation
from support.kafka_broker import SecureBroker, secure_broker

from fl_orchestrator.tracking import background, kafka
from fl_orchestrator.tracking.background import Tracking
from fl_orchestrator.tracking.by_name import Place, tracker_named
from fl_orchestrator.tracking.event import federation_id
from fl_orchestrator.tracking.kafka import KafkaUnavailable
from fl_orchestrator.tracking.position import Position
from fl_orchestrator.tracking.source import EventSource

WAIT_SECONDS = 90.0
USERS = {"hospital": "pass word=1", "clinic": "another"}
#: What docs/tracking.md says that an account needs.
RIGHTS = (
    *((ResourceType.TOPIC, "rounds", each) for each in (AclOperation.READ, AclOperation.WRITE)),
    (ResourceType.TRANSACTIONAL_ID, "flo-", AclOperation.WRITE),
    (ResourceType.GROUP, "flo", AclOperation.DESCRIBE),
)


@pytest.fixture(scope="module")
def secured(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    directory = tmp_path_factory.mktemp("kafka") / "broker"
    with secure_broker(libraries, directory, USERS) as running:
        running.broker.allow("hospital", *RIGHTS)
        yield running


@pytest.fixture
def federation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallFederation:
    monkeypatch.setattr(background, "_RETRY_SECONDS", (0.1, 1.0))
    monkeypatch.setattr(kafka, "_SECONDS", 5.0)
    return SmallFederation(tmp_path)


def address(secured: SecureBroker, directory: Path, topic: str, user: str, **changes: str) -> str:
    """The topic's address, with a file that has the certificate and the password."""
    settings = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": changes.get("password", USERS[user]),
    }
    if "untrusting" not in changes:
        settings["ssl.ca.location"] = str(secured.certificate)
    file = directory / f"{user}.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return f"kafka://{secured.address}/{topic}?settings={file}"


def place(federation: SmallFederation) -> Place:
    contract = federation.federation
    name = federation_id(contract.chain_id, contract.address)
    return Place(name, "watcher", federation.directory)


def tracking(federation: SmallFederation, at: str) -> Tracking:
    opened, begin = tracker_named(at), federation.deployment.block
    return Tracking("kafka", lambda: opened(place(federation)), federation.federation, begin, None)


def written(secured: SecureBroker, topic: str) -> list[str]:
    return [json.loads(value)["id"] for _, value in secured.broker.records(topic)]


def events_of(federation: SmallFederation) -> list[str]:
    position = Position(federation=place(federation).federation)
    source = EventSource(federation.federation, federation.deployment.block, position)
    found: list[str] = []
    while (batch := source.read(federation.observe().block_number)) is not None:
        found.extend(event.id for event in batch.events)
    return found


def test_a_file_with_certificate_and_password_opens_a_topic_with_tls(
    secured: SecureBroker, federation: SmallFederation, tmp_path: Path
) -> None:
    secured.broker.create("rounds-1")
    at = address(secured, tmp_path, "rounds-1", "hospital")
    assert USERS["hospital"] not in at
    tracking(federation, at).close(WAIT_SECONDS)
    assert written(secured, "rounds-1") == events_of(federation)


def test_refused_permissions_are_said_once_and_hold_nothing_up(
    secured: SecureBroker,
    federation: SmallFederation,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secured.broker.create("rounds-2")
    with structlog.testing.capture_logs() as logs:
        tracked = tracking(federation, address(secured, tmp_path, "rounds-2", "clinic"))

        def complaints() -> list[str]:
            return [str(log.get("reason")) for log in logs if "tracker failed" in log["event"]]

        deadline = time.monotonic() + WAIT_SECONDS
        while not complaints():
            tracked.step()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # The round goes on meanwhile, and the same reason is not said again.
        federation.run_round(federation.everybody())
        tracked.step()
        time.sleep(3)
        (reason,) = complaints()
        assert "does not permit it" in reason
        assert written(secured, "rounds-2") == []
        secured.broker.allow("clinic", *RIGHTS)
        tracked.close(WAIT_SECONDS)
    assert written(secured, "rounds-2") == events_of(federation)
    assert "a tracker works again" in [log["event"] for log in logs]
    assert "FATAL" not in capfd.readouterr().err  # librdkafka's own, at every try


def test_a_wrong_password_and_an_unknown_certificate_are_no_connection(
    secured: SecureBroker, federation: SmallFederation, tmp_path: Path
) -> None:
    secured.broker.create("rounds-3")
    for changes in ({"password": "guessed"}, {"untrusting": "yes"}):
        at = address(secured, tmp_path, "rounds-3", "hospital", **changes)
        tracker = tracker_named(at)(place(federation))
        with pytest.raises(KafkaUnavailable) as raised:
            tracker.resume(Position(federation=place(federation).federation))
        assert "guessed" not in str(raised.value)
    assert written(secured, "rounds-3") == []
