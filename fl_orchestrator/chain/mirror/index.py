"""An index of a mirror's events, built block by block, as `RoundIndex` is one of a federation's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fl_orchestrator.chain.contract.events import DisputeIndex
from fl_orchestrator.chain.mirror.mirror import ModelMirror, found_seats
from fl_orchestrator.chain.mirror.types import FraudRecorded, MirroredResult, MirrorEvents, Seat


class MirrorIndex(DisputeIndex[MirrorEvents]):
    """An index of a mirror. The "round" of a demand and of an answer is a submission."""

    def __init__(self, mirror: ModelMirror, from_block: int) -> None:
        self._mirror = mirror
        super().__init__(mirror, from_block)

    def _forget(self) -> None:
        super()._forget()
        self._submissions: dict[int, MirroredResult] = {}
        self._results: dict[bytes, MirroredResult] = {}
        self._frauds: dict[bytes, FraudRecorded] = {}
        self._seats: dict[bytes, list[Seat]] = {}

    def _request(self, first: int, last: int) -> MirrorEvents:
        return self._mirror.mirror_events(first, last)

    def _take(self, found: MirrorEvents) -> None:
        self._submissions |= {one.submission: one for one in found.results if one.submission}
        self._results |= {one.digest: one for one in found.results}
        self._demands |= {demand.id: demand for demand in found.demands}
        self._answers |= {answer.id: answer for answer in found.answers}
        self._frauds |= {fraud.digest: fraud for fraud in found.frauds}
        self._seats |= found.seats

    def _check(self, found: MirrorEvents, timestamp: int) -> None:
        self._check_demands(found.demands, found.answers, timestamp)

    @property
    def submissions(self) -> Mapping[int, MirroredResult]:
        """Every result that became the head, by the number of its submission."""
        return MappingProxyType(self._submissions)

    @property
    def results(self) -> Mapping[bytes, MirroredResult]:
        """Every result with a quorum, by its digest, also one that never became the head."""
        return MappingProxyType(self._results)

    @property
    def frauds(self) -> Mapping[bytes, FraudRecorded]:
        """The results that are proven wrong, with the proofs, by their digest."""
        return MappingProxyType(self._frauds)

    def seats_for(self, round_number: int) -> list[Seat]:
        """The seats whose stake counts for a round, in the contract's order.

        Raises UntrueEvents if the events do not have them.
        """
        return found_seats(self._seats, self._mirror.seats_hash_for(round_number))
