"""HTTP requests and answers as records of Kafka topics: a head, and the body in parts.

All records of a request have its id, and the key of their client, so that they are in one partition
in their order. Nobody is believed: a relay checks what it gets, and a client what it is answered.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Annotated, Any, Final

from confluent_kafka import Message
from pydantic import Field, TypeAdapter, ValidationError

from fl_orchestrator.json_text import to_json

#: A broker accepts records of up to 1 MB unless it is told otherwise.
PART_BYTES: Final = 512 << 10
#: How long to wait for a record before looking around.
RECORD_SECONDS: Final = 0.5
#: The topics of a relay are its address's topic with these endings.
REQUESTS: Final = "-requests"
ANSWERS: Final = "-answers"

_ID, _HEAD, _PART, _LAST = "flo-id", "flo-head", "flo-part", "flo-last"
_ID_BYTES: Final = 16
_MOST_HEAD_BYTES: Final = 4096
#: The value of a header, which has no line break.
_Header = Annotated[str, Field(pattern=r"^[ -~]{0,200}$")]


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before a body of ``length`` bytes, or of an unknown length, -1.

    A request has a method and a path, an answer a status. ``range`` is the Range of a request, and
    the Content-Range of an answer. ``coding`` is the Content-Encoding of the body, and ``accepts``
    the Accept-Encoding of a request.
    """

    method: str = ""
    path: str = ""
    status: int = 0
    kind: _Header = ""
    length: int = 0
    range: _Header = ""
    coding: _Header = ""
    accepts: _Header = ""

    def to_json(self) -> bytes:
        return to_json(dataclasses.asdict(self)).encode()


_HEADS: Final = TypeAdapter(Head)


@dataclass(frozen=True, slots=True)
class Part:
    """A record: ``head`` is there in the first part only, and ``last`` says that none follows."""

    id: bytes
    client: bytes
    number: int
    last: bool
    head: Head | None
    body: bytes


def read_part(message: Message) -> Part | None:
    """The part that a record is; None of any other record."""
    headers: Mapping[str, Any] = dict(message.headers() or ())
    id_, number, head = headers.get(_ID), headers.get(_PART), headers.get(_HEAD)
    if not isinstance(id_, bytes) or len(id_) != _ID_BYTES or not isinstance(number, bytes):
        return None
    if not number.isdigit() or len(number) > 9 or len(head or b"") > _MOST_HEAD_BYTES:
        return None
    try:
        found = None if head is None else _HEADS.validate_json(head)
    except ValidationError:
        return None
    last = headers.get(_LAST) is not None
    return Part(id_, message.key() or b"", int(number), last, found, message.value() or b"")


def write_parts(
    produce: Callable[..., None], client: bytes, id_: bytes, head: Head, body: Iterator[bytes]
) -> None:
    """Produce the records of a request or an answer; ``body`` gives pieces of any size."""
    number, waiting = 0, bytearray()

    def send(piece: bytes, last: bool) -> None:
        headers = [(_ID, id_), (_PART, str(number).encode())]
        if number == 0:
            headers.append((_HEAD, head.to_json()))
        if last:
            headers.append((_LAST, b"1"))
        produce(key=client, value=piece, headers=headers)

    for piece in body:
        waiting += piece
        while len(waiting) > PART_BYTES:
            send(bytes(waiting[:PART_BYTES]), False)
            del waiting[:PART_BYTES]
            number += 1
    send(bytes(waiting), True)


class Assembly:
    """A body that arrives in parts, in their order, into ``file``, with at most so many bytes."""

    def __init__(self, head: Head, file: IO[bytes], max_bytes: int) -> None:
        self.head = head
        self.file = file
        self._left = max_bytes
        self._next = 0
        self.touched = time.monotonic()

    def take(self, part: Part) -> bool:
        """Whether the part is the next one, and the body still within its limit."""
        self._left -= len(part.body)
        if part.number != self._next or self._left < 0:
            return False
        self._next += 1
        self.touched = time.monotonic()
        self.file.write(part.body)
        return True
