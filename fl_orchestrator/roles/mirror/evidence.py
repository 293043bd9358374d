"""What a mirror takes for a round of the federation: its result, its updates, and signatures.

The federation's events have the result and the updates; the signatures are in the transactions by
which the aggregators attested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import signature_hash
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import LoggedEvent
from fl_orchestrator.chain.contract.words import Undecodable, words_of
from fl_orchestrator.chain.event_types import counted
from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.chain.mirror.types import Seat
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.digests import Result

_SELECTOR_BYTES: Final = 4


class NoQuorumOfSeats(ChainError):
    """Too little of the mirror's stake has signed a result of the federation."""


@dataclass(frozen=True, slots=True)
class SignedResult:
    """An accepted result of the federation, with its counted reveals and its signatures.

    ``updates`` has for each reveal party and weight in one word, and the root. ``signatures`` are
    by the account that signed, with its checksum.
    """

    digest: bytes
    result: Result
    updates: tuple[tuple[int, bytes], ...]
    signatures: Mapping[str, Signature]

    def quorum(self, seats: Sequence[Seat]) -> dict[int, Signature]:
        """The fewest signatures of a quorum of these seats, by their places.

        Raises NoQuorumOfSeats.
        """
        signed = [(n, seat) for n, seat in enumerate(seats) if seat.account in self.signatures]
        total, stake = sum(seat.stake for seat in seats), 0
        chosen: dict[int, Signature] = {}
        for place, seat in sorted(signed, key=lambda one: -one[1].stake):
            chosen[place] = self.signatures[seat.account]
            stake += seat.stake
            if 3 * stake > 2 * total:
                return chosen
        raise NoQuorumOfSeats(
            f"Seats with {stake} of {total} wei have signed the result of round "
            f"{self.result.round}, which is no quorum of the mirror.",
            "If the aggregators have changed, change the mirror's seats: `flo mirror seats`.",
        )

    def submission(self, mirror: ModelMirror, seats: Sequence[Seat]) -> Call:
        return mirror.submit(self.result, self.updates, seats, self.quorum(seats))

    def decision(self, mirror: ModelMirror, later: SignedResult, seats: Sequence[Seat]) -> Call:
        """The call that decides for this result; ``seats`` are those of the later one's round."""
        quorum = later.quorum(seats)
        return mirror.decide(self.result, self.updates, later.result, seats, quorum)


class SignedResults:
    """Reads the accepted results of a federation as a mirror takes them."""

    def __init__(self, federation: Federation, rounds: RoundIndex, from_block: int) -> None:
        self._federation = federation
        self._rounds = rounds
        self._from_block = from_block
        self._begun: dict[int, int] = {}
        attest = next(
            item
            for item in load_artifact(federation.ARTIFACT).abi
            if (item["type"], item.get("name")) == ("function", "attest")
        )
        self._selector = signature_hash(attest)[:_SELECTOR_BYTES]
        self._arguments = words_of(attest["inputs"])

    def of_round(self, round_number: int, block_number: int) -> SignedResult:
        """That of an accepted round, from the events up to a block.

        Raises MissingEvents and UntrueEvents, and RequestRefused.
        """
        found = self._rounds.accepted(round_number, block_number)
        digest = self._federation.digest_of(found.result)
        updates = tuple(counted(found.updates))
        signatures = {
            account: signature
            for signature in self._signatures(round_number, digest)
            if (account := recover(digest, signature)) is not None
        }
        return SignedResult(digest, found.result, updates, signatures)

    def _signatures(self, round_number: int, digest: bytes) -> Iterator[Signature]:
        events = self._attested(round_number)
        sent = dict.fromkeys(e.transaction for e in events if bytes(e.values["digest"]) == digest)
        for transaction in sent:
            data = self._federation.call_data(transaction)
            # A contract may have called the federation: its call data are not a signature's place.
            if data[:_SELECTOR_BYTES] == self._selector:
                yield from self._decoded(data[_SELECTOR_BYTES:])

    def _attested(self, round_number: int) -> list[LoggedEvent]:
        """The attestations of a round, which are later than the first one of each round before."""
        earlier = (block for number, block in self._begun.items() if number < round_number)
        first = max(earlier, default=self._from_block)
        found = self._federation.logged("Attested", first, None, round_number)
        if not found and first > self._from_block:
            # A reorg may have moved them.
            found = self._federation.logged("Attested", self._from_block, None, round_number)
        if found:
            self._begun[round_number] = min(event.block_number for event in found)
        return found

    def _decoded(self, data: bytes) -> list[Signature]:
        try:
            _, signatures = self._arguments(data)
        except Undecodable:
            return []
        return [Signature(bytes(r), bytes(vs)) for r, vs in signatures]
