"""Beside a keeper's HTTP relay: passes requests from a Kafka topic to it, and its answers back.

The relay checks them as it checks every request. Requests that were sent while the keeper was away
are passed on when it is back, unless they are old.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

import requests
from confluent_kafka import Consumer, KafkaException, Message, Producer

from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger
from fl_orchestrator.relay.kafka.frames import (
    ANSWERS,
    PART_BYTES,
    RECORD_SECONDS,
    REQUESTS,
    Assembly,
    Head,
    Part,
    read_part,
    write_parts,
)
from fl_orchestrator.tracking.kafka_address import client_settings
from fl_orchestrator.transport.packing import CODING, accepts

_log = get_logger(__name__)

_FORWARD_SECONDS: Final = 600.0
_OLDEST_SECONDS: Final = 600
_IDLE_SECONDS: Final = 60.0
_WORKERS: Final = 8
#: Requests that are arriving at once; more are answered that they should come again.
MOST_OPEN: Final = 64
_PATH: Final = re.compile(r"/(v1/[a-z]+(/[a-zA-Z0-9]+)?|ipfs/[a-zA-Z0-9]+)", re.ASCII)
_METHODS: Final = frozenset({"GET", "POST", "PUT"})


class Bridge:
    """Passes requests on to the relay at ``url``; bodies have at most ``max_bytes``."""

    def __init__(
        self, settings: Mapping[str, str], topic: str, url: str, federation: str, max_bytes: int
    ) -> None:
        base = client_settings(settings)
        group = hashlib.sha256(federation.encode()).hexdigest()[:32]
        self._consumer = Consumer(
            {**base, "group.id": f"flo-relay-{group}", "auto.offset.reset": "latest"}
        )
        self._producer = Producer(base)
        self._topic = topic
        self._url = url
        self._max_bytes = max_bytes
        self._open: dict[bytes, Assembly] = {}
        self._whole = threading.Semaphore(MOST_OPEN)
        self._stopping = threading.Event()
        self._workers = ThreadPoolExecutor(_WORKERS, "kafka relay")
        self._thread = threading.Thread(target=self._run, name="kafka bridge", daemon=True)

    def start(self) -> None:
        self._consumer.subscribe([self._topic + REQUESTS])
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._producer.flush(5)

    def _run(self) -> None:
        said = ""
        while not self._stopping.is_set():
            message = self._consumer.poll(RECORD_SECONDS)
            self._producer.poll(0)
            self._forget_idle()
            if message is None:
                continue
            error = message.error()
            if error is None:
                self._take(message)
            elif str(error) != said:
                said = str(error)
                _log.warning("the Kafka relay fails; it is tried again", reason=said[:200])
        with suppress(KafkaException):
            self._consumer.close()

    # ------------------------------------------------------------------ what arrives

    def _take(self, message: Message) -> None:
        part = read_part(message)
        _, timestamp = message.timestamp()
        if part is None or timestamp < 1000 * (time.time() - _OLDEST_SECONDS):
            return
        if part.number == 0:
            self._begin(part)
        assembly = self._open.get(part.id)
        if assembly is None:
            return
        if not assembly.take(part):
            self._drop(part.id)
            self._refuse(part, 400, "The body has a gap, or is too long.")
        elif part.last and not self._whole.acquire(blocking=False):
            self._drop(part.id)
            self._refuse(part, 429, "Too many requests at once.")
        elif part.last:
            del self._open[part.id]
            self._workers.submit(self._forward, part, assembly)

    def _begin(self, part: Part) -> None:
        head = part.head
        if head is None or head.method not in _METHODS or not _PATH.fullmatch(head.path):
            self._refuse(part, 400, "This is no request to a relay.")
        elif head.length > self._max_bytes:
            self._refuse(part, 413, f"At most {self._max_bytes} bytes are accepted here.")
        elif len(self._open) >= MOST_OPEN:
            self._refuse(part, 429, "Too many requests at once.")
        else:
            file = tempfile.SpooledTemporaryFile(max_size=PART_BYTES)  # noqa: SIM115 (closed when it is sent)
            self._open[part.id] = Assembly(head, file, self._max_bytes)

    def _forget_idle(self) -> None:
        latest = time.monotonic() - _IDLE_SECONDS
        for id_ in [id_ for id_, one in self._open.items() if one.touched < latest]:
            self._drop(id_)

    def _drop(self, id_: bytes) -> None:
        self._open.pop(id_).file.close()

    # ------------------------------------------------------------------ what goes back

    def _forward(self, part: Part, assembly: Assembly) -> None:
        head = assembly.head
        with assembly.file as body:
            try:
                with self._ask(part, head, body) as response:
                    kind = response.headers.get("Content-Type", "")
                    length = int(response.headers.get("Content-Length", -1))
                    part_of = response.headers.get("Content-Range", "")
                    answer = Head(
                        status=response.status_code,
                        kind=kind,
                        length=length,
                        range=part_of,
                        coding=response.headers.get("Content-Encoding", ""),
                    )
                    self._answer(part, answer, response.iter_content(PART_BYTES))
            except (requests.RequestException, OSError, ValueError):
                self._refuse(part, 503, "The relay cannot do this at the moment.")
            except Exception:  # of a worker, whose result nobody asks for
                _log.exception("the Kafka relay lost a request", path=head.path)
            finally:
                self._whole.release()

    def _ask(self, part: Part, head: Head, body: IO[bytes]) -> requests.Response:
        size = body.tell()
        body.seek(0)
        # The relay counts requests by the address that its proxy reports.
        client = hashlib.sha256(part.client).hexdigest()[:16]
        return requests.request(
            head.method,
            f"{self._url}{head.path}",
            data=body if size else None,
            headers={
                **({"Range": head.range} if head.range else {}),
                **({"Content-Encoding": head.coding} if head.coding else {}),
                # Not what this client would unpack.
                "Accept-Encoding": CODING if accepts(head.accepts) else "identity",
                "Content-Type": head.kind,
                "Content-Length": str(size),
                "X-Forwarded-For": f"kafka-{client}",
            },
            stream=True,
            timeout=_FORWARD_SECONDS,
            allow_redirects=False,
        )

    def _refuse(self, part: Part, status: int, reason: str) -> None:
        body = to_json({"error": reason}).encode()
        head = Head(status=status, kind="application/json", length=len(body))
        self._answer(part, head, iter([body]))

    def _answer(self, part: Part, head: Head, body: Iterator[bytes]) -> None:
        write_parts(self._produce, part.client, part.id, head, body)

    def _produce(self, **record: Any) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.produce(self._topic + ANSWERS, **record)
            except BufferError:  # the queue to the broker is full
                self._producer.poll(RECORD_SECONDS)
            else:
                return


@contextmanager
def bridged(bridge: Bridge) -> Iterator[None]:
    """Run a bridge until the block ends."""
    bridge.start()
    try:
        yield
    finally:
        bridge.stop()
