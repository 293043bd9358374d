"""Reads a federation's events block by block, and what a reorganisation has undone of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fl_orchestrator.chain.contract.events import READ_AGAIN
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import LoggedEvent, json_value
from fl_orchestrator.chain.contract.rounds import read_rounds
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.keccak import HASH_BYTES
from fl_orchestrator.tracking.event import Event, Kind, federation_id
from fl_orchestrator.tracking.position import Checkpoint, Delivered, Position

_log = get_logger(__name__)

_MOST_BLOCKS: Final = 2_000

_KINDS: Final[Mapping[str, str]] = {
    "Committed": Kind.COMMIT,
    "UpdateRevealed": Kind.UPDATE,
    "Attested": Kind.ATTESTATION,
    "RoundVoided": Kind.ROUND_VOID,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in the order in which they are delivered, and what is read with them."""

    events: tuple[Event, ...]
    checkpoint: Checkpoint


class EventSource:
    """The events of a federation that come after a position, which it moves on with every read.

    ``deployed_at`` is the federation's first block.
    """

    def __init__(self, federation: Federation, deployed_at: int, position: Position) -> None:
        self._federation = federation
        self._deployed_at = deployed_at
        self._position = position
        self._id = federation_id(federation.chain_id, federation.address)
        self._done = -1

    def read(self, block_number: int) -> Batch | None:
        """The next events up to a block; None if there is nothing new.

        Raises ChainError, and UntrueEvents for events that cannot be.
        """
        position, first = self._position, self._deployed_at
        # A reorganisation is noticed with the next block, which saves a request until then.
        if block_number == self._done or self._is_behind(block_number):
            return None
        fork, undone = self._fork()
        if fork is not None:
            first = fork.block + 1
        last = min(block_number, max(first, self._deployed_at) + _MOST_BLOCKS - 1)
        self._done = block_number if last == block_number else -1
        if last < first and not undone:
            return None
        if last < first:
            events, checkpoint = [*undone], fork
        else:
            # The hash is read before the events, so that the next read notices a reorg in between.
            found = self._federation.block(last)
            if found is None:
                return None
            checkpoint = Checkpoint(block=last, block_hash=_hex(found[0]))
            fresh = self._fresh(max(self._deployed_at, first - READ_AGAIN), last, undone)
            events = [*undone, *fresh]
        if checkpoint is None:
            return None
        for event in events:
            position.take(event)
        position.reach(checkpoint)
        return Batch(tuple(events), checkpoint)

    def _is_behind(self, block_number: int) -> bool:
        """Whether the node has not yet the last block that was read, as behind a load balancer."""
        points = self._position.checkpoints
        return (
            bool(points)
            and 0 < points[-1].block - block_number <= READ_AGAIN
            and self._federation.block_hash(points[-1].block) is None
        )

    def _fork(self) -> tuple[Checkpoint | None, list[Event]]:
        """The last checkpoint that is on the chain, and what was delivered after it, undone."""
        points = self._position.checkpoints
        kept = len(points)
        while kept and self._federation.block_hash(points[kept - 1].block) != bytes.fromhex(
            points[kept - 1].block_hash[2:]
        ):
            kept -= 1
        if kept == len(points):
            return (points[-1] if points else None), []
        fork = points[kept - 1] if kept else None
        if fork is None:
            _log.error(
                "alert: a reorganisation goes back further than a tracker remembers: events of "
                "older blocks may be reported and not be on the chain any more",
                blocks=points[-1].block - points[0].block,
            )
            fork = Checkpoint(block=points[0].block - 1, block_hash="")
        gone = [known for known in self._position.delivered if known.block > fork.block]
        return fork, [self._undone(known) for known in reversed(gone)]

    def _undone(self, known: Delivered) -> Event:
        return Event(
            id=f"undone:{known.id}",
            kind=Kind.UNDONE,
            federation=self._id,
            round=known.round,
            time=None,
            values={"undoes": known.id, "was": known.kind},
        )

    def _fresh(self, first: int, last: int, undone: list[Event]) -> Iterator[Event]:
        """The events of these blocks that were not delivered, or are undone here."""
        gone = {event.values["undoes"] for event in undone}
        found = self._federation.every_event(first, last)
        known = self._position.has(map(_id_of, found)) - gone
        times: dict[int, int] = {}
        for logged in found:
            if _id_of(logged) not in known:
                yield self._event(logged, self._time(logged, times))

    def _time(self, logged: LoggedEvent, times: dict[int, int]) -> int:
        """The time of an event's block, for nodes whose logs do not have it."""
        if logged.time is not None:
            return logged.time
        number = logged.block_number
        if number not in times:
            found = self._federation.block(number)
            times[number] = 0 if found is None else found[1]
        return times[number]

    def _event(self, logged: LoggedEvent, time: int) -> Event:
        kind = _KINDS.get(logged.name) or re.sub(r"(?<!^)(?=[A-Z])", "_", logged.name).lower()
        values = dict(logged.values)
        number = values.pop("round", None)
        if kind == Kind.ROUND_ACCEPTED:
            values |= self._outcome(number)
        return Event(
            id=_id_of(logged),
            kind=kind,
            federation=self._id,
            round=number,
            time=time,
            values={k: _plain(k, v) for k, v in values.items() if k != "result"},
            block=logged.block_number,
            block_hash=_hex(logged.block_hash),
            log_index=logged.log_index,
            transaction=_hex(logged.transaction),
        )

    def _outcome(self, number: int) -> dict[str, Any]:
        """What an accepted round has in figures."""
        (record,) = read_rounds(self._federation, self._deployed_at, number, number)
        accepted = record.accepted_result
        found: dict[str, Any] = {
            "committed": len(record.parties),
            "revealed": len(record.updates),
            "included": len(record.included),
            "weight": sum(u.weight for u in record.updates if u.index in record.included),
        }
        if accepted is not None:
            found |= {
                "signers": len(accepted.signers),
                "root": accepted.result.global_root,
                "cid": str(accepted.result.global_cid),
            }
        if record.opened is not None and record.accepted_at:
            found["seconds"] = record.accepted_at - record.opened_at
        return found


def _id_of(logged: LoggedEvent) -> str:
    return f"{_hex(logged.block_hash)}:{logged.log_index}"


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _plain(name: str, value: Any) -> Any:
    """A value as JSON; of bytes that are no hash only the length, since others chose them."""
    if isinstance(value, bytes) and len(value) > HASH_BYTES:
        return {"bytes": len(value)}
    return json_value(name, value)
