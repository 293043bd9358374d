"""Apache Kafka: one record for each event, in one partition for each federation.

A delivery is one transaction. After a failure or a restart nobody knows whether the last one was
committed, so the tracker first fences off its predecessor, and then reads what the topic has.
docs/tracking.md has the schema.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from pydantic_core import from_json

from fl_orchestrator.errors import FloError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.tracking.event import Event
from fl_orchestrator.tracking.kafka_address import client_settings
from fl_orchestrator.tracking.position import Checkpoint, Position
from fl_orchestrator.tracking.tracker import Tracker, TrackerEnded

_SECONDS: Final = 20.0
_OFFSET: Final = "kafka.offset"
_PARTITION: Final = "kafka.partition"
_UNKNOWN: Final = -1
_READING: Final = {
    "group.id": "flo",  # it has no members, but a broker wants a right to it
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
}
_FENCED: Final = (
    *(KafkaError._FENCED, KafkaError.PRODUCER_FENCED),
    KafkaError.INVALID_PRODUCER_EPOCH,
)
_REFUSED: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)


class KafkaUnavailable(FloError):
    """The broker does not answer, or lacks the topic."""

    exit_code = 4


class KafkaTracker(Tracker):
    """Writes the events of one federation to a topic, each exactly once.

    ``settings`` are those of librdkafka: at least ``bootstrap.servers``. One process at a time
    writes a federation's events to a topic: a new one takes over from the one before.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, federation: str) -> None:
        self._settings = client_settings(settings)
        self._topic = topic
        self._key = federation.encode()
        self._producer: Producer | None = None
        self._offset, self._partition = OFFSET_BEGINNING, _UNKNOWN

    # ------------------------------------------------------------------ where it stands

    def resume(self, position: Position) -> None:
        """Take over from an earlier process, and move the position on to what the topic has."""
        self._offset = position.notes.get(_OFFSET, OFFSET_BEGINNING)
        self._partition = position.notes.get(_PARTITION, _UNKNOWN)
        for event in self._open():
            position.take(event)
            # A transaction has whole blocks.
            if event.block is not None and event.block_hash is not None:
                position.reach(Checkpoint(block=event.block, block_hash=event.block_hash))

    def mark(self, position: Position) -> None:
        position.notes = {_OFFSET: self._offset, _PARTITION: self._partition}

    def _open(self) -> list[Event]:
        """Fence off every earlier producer; return this federation's events that are new here.

        Raises KafkaUnavailable and TrackerEnded.
        """
        name = hashlib.sha256(self._topic.encode() + b"\0" + self._key).hexdigest()[:32]
        try:
            producer = Producer({**self._settings, "transactional.id": f"flo-{name}"})
            producer.init_transactions(_SECONDS)
            partitions = self._partitions(producer)
            events = self._read(partitions)
        except KafkaException as error:
            raise _named(error) from error
        if self._partition == _UNKNOWN:
            self._partition = partitions[zlib.crc32(self._key) % len(partitions)]
        self._producer = producer
        return events

    def _partitions(self, producer: Producer) -> list[int]:
        found = producer.list_topics(self._topic, timeout=_SECONDS).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return sorted(found.partitions)

    def _read(self, partitions: Sequence[int]) -> list[Event]:
        """The events from the known offset on; of every partition where none is known."""
        consumer = Consumer({**self._settings, **_READING})
        known = self._partition in partitions
        if not known:
            self._offset, self._partition = OFFSET_BEGINNING, _UNKNOWN
        wanted = [self._partition] if known else partitions
        consumer.assign([TopicPartition(self._topic, n, self._offset) for n in wanted])
        try:
            return [*self._events(consumer, len(wanted))]
        finally:
            consumer.close()

    def _events(self, consumer: Consumer, unread: int) -> Iterator[Event]:
        while unread:
            message = consumer.poll(_SECONDS)
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if error is not None:
                unread -= 1
            elif message.key() == self._key and (event := _event(message.value())) is not None:
                self._partition = message.partition() or 0
                self._offset = (message.offset() or 0) + 1
                yield event

    # ------------------------------------------------------------------ events

    def deliver(self, events: Sequence[Event]) -> None:
        """Write events in one transaction. Raises KafkaUnavailable and TrackerEnded."""
        if self._producer is None:
            written = {event.id for event in self._open()}
            events = [event for event in events if event.id not in written]
        try:
            self._write(events)
        except KafkaException as error:
            self._producer = None
            raise _named(error) from error

    def _write(self, events: Sequence[Event]) -> None:
        producer, offsets = self._producer, [self._offset]
        if producer is None or not events:
            return

        def written(_error: KafkaError | None, message: Message) -> None:
            offsets.append((message.offset() or 0) + 1)

        producer.begin_transaction()
        for event in events:
            producer.produce(
                self._topic,
                to_json(event.to_json()).encode(),
                self._key,
                self._partition,
                on_delivery=written,
                timestamp=1000 * (event.time or 0),
            )
        # It raises if any record was not written.
        producer.commit_transaction(_SECONDS)
        self._offset = max(offsets)


def _event(value: bytes | None) -> Event | None:
    """The event of a record; None of a record that is none of this project's."""
    try:
        found = from_json(value or b"")
        return Event(
            id=str(found["id"]),
            kind=str(found["kind"]),
            federation=str(found["federation"]),
            round=found.get("round"),
            time=found.get("time"),
            values=dict(found["values"]),
            block=found.get("block"),
            block_hash=found.get("blockHash"),
            log_index=found.get("logIndex"),
            transaction=found.get("transaction"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _named(error: KafkaException) -> FloError:
    """The error in the words of this project."""
    cause = error.args[0]
    if cause.code() in _FENCED:
        return TrackerEnded(
            "Another process writes this federation's events to this topic now.",
            "Track it to Kafka from one process, or give each another topic.",
        )
    if cause.code() in _REFUSED:
        return KafkaUnavailable(
            f"The Kafka broker does not permit it: {cause.str()}.",
            "The account needs Read and Write on the topic, Write on transactional ids that "
            "begin with flo-, and Describe on the group flo.",
        )
    return KafkaUnavailable(f"Kafka: {cause.str()}.")
