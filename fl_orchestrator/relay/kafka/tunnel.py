"""A keeper's relay behind Kafka, as an HTTP relay on this machine's loopback.

For a site that reaches a Kafka broker and nothing else. The relay's client and gateway are those of
HTTP; this passes their requests through the topics.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from fl_orchestrator.errors import ContentError
from fl_orchestrator.log import get_logger
from fl_orchestrator.relay.kafka.frames import (
    ANSWERS,
    PART_BYTES,
    RECORD_SECONDS,
    REQUESTS,
    Head,
    Part,
    read_part,
    write_parts,
)
from fl_orchestrator.tracking.kafka_address import client_settings, kafka_address

_log = get_logger(__name__)

_START_SECONDS: Final = 20.0
_NEW_TOPIC_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 120.0
_SLOWEST_SECONDS: Final = 10.0
_WAITING_PARTS: Final = 16


class KafkaUnreachable(ContentError):
    """The broker does not answer, or lacks the relay's topics."""


class Tunnel:
    """Passes HTTP requests to a relay's topics. ``url`` is where it listens on loopback.

    Raises KafkaUnreachable.
    """

    def __init__(self, settings: Mapping[str, str], topic: str) -> None:
        base = client_settings(settings)
        self._topic = topic
        self._client = secrets.token_bytes(16)
        self._waiting: dict[bytes, queue.Queue[Part]] = {}
        self._producer = Producer(base)
        self._consumer = Consumer(
            {**base, "group.id": f"flo-{self._client.hex()}", "enable.auto.commit": False}
        )
        self._begin_at_the_end()
        self._server = _listen(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        for work in (self._read, self._server.serve_forever):
            threading.Thread(target=work, name="kafka tunnel", daemon=True).start()

    def _begin_at_the_end(self) -> None:
        """Read answers from now on. The offsets are explicit, so that none is missed."""
        topic = self._topic + ANSWERS
        try:
            places = [TopicPartition(topic, number) for number in self._partitions(topic)]
            for place in places:
                _, place.offset = self._consumer.get_watermark_offsets(place, _START_SECONDS)
        except KafkaException as error:
            raise KafkaUnreachable(
                f"The relay's topic {topic} cannot be read: {error.args[0].str()}.",
                f"It needs the topics {topic} and {self._topic}{REQUESTS} on the broker.",
            ) from error
        self._consumer.assign(places)

    def _partitions(self, topic: str) -> list[int]:
        """The numbers of its partitions. A broker learns late of a topic that is new."""
        until = time.monotonic() + _NEW_TOPIC_SECONDS
        while True:
            found = self._consumer.list_topics(topic, timeout=_START_SECONDS).topics[topic]
            if found.error is None:
                return list(found.partitions)
            if time.monotonic() > until or found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(found.error)
            time.sleep(_POLL_SECONDS)

    def _read(self) -> None:
        said = ""
        while True:
            message = self._consumer.poll(RECORD_SECONDS)
            if message is None:
                continue
            error = message.error()
            part = None if error is not None else read_part(message)
            if part is not None:
                self._pass_on(part)
            elif error is not None and str(error) != said:
                said = str(error)
                _log.warning("the Kafka relay's answers cannot be read", reason=said[:200])

    def _pass_on(self, part: Part) -> None:
        """Give a part to whoever waits for it; other parts are of other clients.

        A request that does not take its parts is given up, because the others wait meanwhile.
        """
        until = time.monotonic() + _SLOWEST_SECONDS
        while (waiting := self._waiting.get(part.id)) is not None:
            with contextlib.suppress(queue.Full):
                waiting.put(part, timeout=RECORD_SECONDS)
                return
            if time.monotonic() > until:
                self._waiting.pop(part.id, None)

    def ask(self, head: Head, body: Iterator[bytes]) -> Iterator[Part]:
        """Send a request; yields the parts of its answer. Raises TimeoutError."""
        id_ = secrets.token_bytes(16)
        parts = self._waiting[id_] = queue.Queue(_WAITING_PARTS)
        try:
            write_parts(self._produce, self._client, id_, head, body)
            number = 0
            while True:
                try:
                    part = parts.get(timeout=_ANSWER_SECONDS)
                except queue.Empty:
                    raise TimeoutError from None
                if part.number != number:
                    raise TimeoutError  # somebody else's, or a part is missing
                number += 1
                yield part
                if part.last:
                    return
        finally:
            self._waiting.pop(id_, None)

    def _produce(self, **record: Any) -> None:
        until = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < until:
            try:
                self._producer.produce(self._topic + REQUESTS, **record)
                self._producer.poll(0)
            except BufferError:
                self._producer.poll(RECORD_SECONDS)
            else:
                return
        raise TimeoutError


class _Handler(BaseHTTPRequestHandler):
    """Passes each request through the tunnel."""

    protocol_version = "HTTP/1.0"  # a connection for each request, which its end closes
    timeout = 60
    tunnel: Tunnel

    def _pass(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        kind = self.headers.get("Content-Type", "")
        head = Head(
            method=self.command,
            path=self.path,
            kind=kind,
            length=length,
            range=self.headers.get("Range", ""),
            coding=self.headers.get("Content-Encoding", ""),
            accepts=self.headers.get("Accept-Encoding", ""),
        )
        begun = False
        try:
            for part in self.tunnel.ask(head, self._body(length)):
                if part.head is not None and not begun:
                    self._begin(part.head)
                    begun = True
                self.wfile.write(part.body)
        except TimeoutError:
            if not begun:
                self.send_error(504, "The relay behind Kafka does not answer.")
        except (OSError, KafkaException) as error:
            _log.warning("a request to the Kafka relay failed", error=type(error).__name__)

    do_GET = do_POST = do_PUT = _pass  # noqa: N815

    def _begin(self, head: Head) -> None:
        self.send_response(head.status)
        self.send_header("Content-Type", head.kind or "application/octet-stream")
        if head.range:
            self.send_header("Content-Range", head.range)
        if head.coding:
            self.send_header("Content-Encoding", head.coding)
        if head.length >= 0:
            self.send_header("Content-Length", str(head.length))
        self.end_headers()

    def _body(self, length: int) -> Iterator[bytes]:
        while length > 0 and (piece := self.rfile.read(min(length, PART_BYTES))):
            length -= len(piece)
            yield piece

    def log_message(self, *_: Any) -> None:
        """Log nothing: the client does."""


def _listen(tunnel: Tunnel) -> ThreadingHTTPServer:
    handler = type("Handler", (_Handler,), {"tunnel": tunnel})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


@functools.cache
def tunnel_to(address: str) -> str:
    """The loopback URL of the relay at a ``kafka://`` address, for as long as this process runs.

    Raises BadKafkaAddress and KafkaUnreachable.
    """
    return Tunnel(*kafka_address(address)).url
