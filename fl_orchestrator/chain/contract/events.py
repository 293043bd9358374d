"""Indices of a contract's events, built block by block; that of a federation's rounds."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, Protocol, TypeVar

from fl_orchestrator.chain.contract.contract import Contract
from fl_orchestrator.chain.contract.disputes import Disputes
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import (
    Answered,
    Demanded,
    FraudProven,
    RevealedUpdate,
    RoundEvents,
    RoundRevoked,
)
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.disputes.answers import (
    Answer,
    levels_shown,
    shown_content_hash,
    shown_node,
)

# Read this many blocks a second time, together with the next ones: behind a load balancer, a node
# that is not yet at the last block may return no events instead of an error.
READ_AGAIN: Final = 16
# What no content hashes to, as it is too short.
_NO_HASH: Final = b""
# Keep this many searches separate, so that a reorg discards only those whose blocks it replaced.
KEPT_SEARCHES: Final = 128


class MissingEvents(ChainError):
    """The node does not give the events of a round that the contract has accepted."""


@dataclass(frozen=True, slots=True)
class AcceptedRound:
    """The accepted result of a round, and all its counted reveals in their order."""

    result: Result
    updates: list[RevealedUpdate]


class Found(Protocol):
    """The events of a range of blocks."""

    def merged(self, later: Any) -> Any:
        """These events, and after them the later ones."""
        ...


_F = TypeVar("_F", bound=Found)


@dataclass(frozen=True, slots=True)
class _Search(Generic[_F]):
    """The events of a range of blocks. The hash of its last block serves to detect a reorg."""

    last: int
    hash: bytes
    found: _F


class EventIndex(ABC, Generic[_F]):
    """An index of a contract's events, from ``from_block`` on: the block of deployment, or 0.

    Each search requests the new blocks, and the last few before them once more.
    """

    def __init__(self, contract: Contract, from_block: int) -> None:
        self._contract = contract
        self._from_block = from_block
        self._searches: list[_Search[_F]] = []
        self._reorganised = False
        self._forget()

    @abstractmethod
    def _forget(self) -> None:
        """Begin an empty index."""

    @abstractmethod
    def _request(self, first: int, last: int) -> _F:
        """The events of a range of blocks, by one request."""

    @abstractmethod
    def _take(self, found: _F) -> None:
        """Add events, of which some may be known."""

    @abstractmethod
    def _check(self, found: _F, timestamp: int) -> None:
        """Raise UntrueEvents if the new events, up to a block of this time, cannot be true."""

    def search_to(self, block_number: int) -> bool:
        """Read the events up to and including a block.

        Returns whether a reorg replaced blocks that were read before. Their events are discarded,
        and the blocks from the fork on are read again. Raises UntrueEvents.
        """
        self._read_to(block_number)
        # Reset the flag only after the search succeeded, else the caller would miss the reorg.
        reorganised, self._reorganised = self._reorganised, False
        return reorganised

    def read_anew(self) -> None:
        """Discard everything: the next search reads all blocks again."""
        self._reorganised = bool(self._searches) or self._reorganised
        self._searches.clear()
        self._forget()

    def _read_to(self, block_number: int) -> None:
        self._contract.believed(lambda: self._read(block_number))

    def _read(self, block_number: int) -> None:
        try:
            self._read_new(block_number)
        except UntrueEvents:
            # Earlier events of this node may be untrue as well.
            self.read_anew()
            raise

    def _read_new(self, block_number: int) -> None:
        # Read the block hash before the logs, so that the next call detects a reorg in between.
        block = self._contract.block(block_number)
        self._forget_replaced()
        if block is not None and block_number > self._last_block:
            first = max(self._from_block, self._last_block + 1 - READ_AGAIN)
            found = self._request(first, block_number)
            self._take(found)
            self._check(found, block[1])
            self._searches.append(_Search(block_number, block[0], found))
            if len(self._searches) > 2 * KEPT_SEARCHES:
                self._searches[:KEPT_SEARCHES] = [_merged(self._searches[:KEPT_SEARCHES])]

    @property
    def _last_block(self) -> int:
        return self._searches[-1].last if self._searches else self._from_block - 1

    def _forget_replaced(self) -> None:
        kept = len(self._searches)
        while kept and not self._is_on_chain(self._searches[kept - 1]):
            kept -= 1
        if kept == len(self._searches):
            return
        self._reorganised = True
        del self._searches[kept:]
        self._forget()
        for search in self._searches:
            self._take(search.found)

    def _is_on_chain(self, search: _Search[_F]) -> bool:
        return self._contract.block_hash(search.last) == search.hash


class DisputeIndex(EventIndex[_F]):
    """An index that has the demands of a contract, and their answers, among its events."""

    def __init__(self, contract: Disputes, from_block: int) -> None:
        self._disputes = contract
        super().__init__(contract, from_block)

    def _forget(self) -> None:
        self._demands: dict[int, Demanded] = {}
        self._answers: dict[int, Answered] = {}

    @property
    def demands(self) -> Mapping[int, Demanded]:
        """Every demand, by its id, also those of results that do not stand any more."""
        return MappingProxyType(self._demands)

    @property
    def answers(self) -> Mapping[int, Answered]:
        """Every answer, by the id of its demand."""
        return MappingProxyType(self._answers)

    def _check_demands(
        self, demands: Iterable[Demanded], answers: Iterable[Answered], timestamp: int
    ) -> None:
        """Raise UntrueEvents unless these are all demands, in their order, and answers to them."""
        for demand in demands:
            previous = self._demands.get(demand.previous)
            if demand.previous and (previous is None or not continues(previous, demand)):
                raise UntrueEvents(f"demand {demand.id} does not continue {demand.previous}")
        for answer in answers:
            self._check_answer(answer)
        self._require_all_demands(timestamp)

    def _check_answer(self, answer: Answered) -> Demanded:
        """The demand that this is an answer to. Raises UntrueEvents."""
        demand = self._demands.get(answer.id)
        if demand is None or demand.round != answer.round:
            raise UntrueEvents(f"an answer is to a demand {answer.id}, which nobody made")
        return demand

    def _require_all_demands(self, timestamp: int) -> None:
        """Raise UntrueEvents if a demand made before then is not among the events.

        The ids of demands have no gap, so the contract must not have the next one.
        """
        number = len(self._demands) + 1
        if self._demands and max(self._demands) >= number:
            raise UntrueEvents("there are later demands, but not all earlier ones")
        demand = self._disputes.demand_by_id(number)
        # It may be newer than the last block that was searched, which may even have its timestamp.
        # An answer only makes it look newer.
        answer_period = self._disputes.params().answer_period
        if demand is not None and demand.until - answer_period < timestamp:
            raise UntrueEvents(f"demand {number}, which the contract has, is missing")


class RoundIndex(DisputeIndex[RoundEvents]):
    """An index of a federation's rounds.

    Events are indexed by round, not by height: after a revocation another round takes the same
    height.
    """

    def __init__(self, federation: Federation, from_block: int) -> None:
        self._federation = federation
        super().__init__(federation, from_block)

    def _forget(self) -> None:
        super()._forget()
        self._results: dict[bytes, Result] = {}
        self._updates: dict[int, dict[int, RevealedUpdate]] = {}
        self._accepted: dict[int, bytes] = {}
        self._frauds: dict[bytes, FraudProven] = {}
        self._revocations: dict[int, RoundRevoked] = {}
        self._confirmed: set[int] = set()

    def _request(self, first: int, last: int) -> RoundEvents:
        return self._federation.round_events(first, last)

    def _take(self, found: RoundEvents) -> None:
        self._results |= found.results
        for update in found.updates:
            self._updates.setdefault(update.round, {})[update.index] = update
        self._accepted |= found.accepted
        self._demands |= {demand.id: demand for demand in found.demands}
        self._answers |= {answer.id: answer for answer in found.answers}
        self._frauds |= {fraud.digest: fraud for fraud in found.frauds}
        self._revocations |= {revocation.round: revocation for revocation in found.revocations}

    def _check(self, found: RoundEvents, timestamp: int) -> None:
        for number, digest in found.accepted.items():
            result = self._results.get(digest)
            if result is not None and result.round != number:
                raise UntrueEvents(f"round {number} accepted a result of another round")
        self._check_demands(found.demands, found.answers, timestamp)

    def _check_answer(self, answer: Answered) -> Demanded:
        demand = super()._check_answer(answer)
        shown = shown_content_hash(demand.level, answer.content)
        right = self._demanded_hash(demand)
        if shown is None or (right is not None and shown != right):
            raise UntrueEvents(f"the answer to demand {answer.id} is not of the round's model")
        if right is None and answer.id not in self._confirmed:
            self._confirm(answer)
        return demand

    def _demanded_hash(self, demand: Demanded) -> bytes | None:
        """The hash of the demanded node; None if no event tells it.

        It is no hash if a previous answer should show it, but does not.
        """
        if demand.previous:
            above, parent = self._demands[demand.previous], self._answers.get(demand.previous)
            if parent is None:
                return _NO_HASH
            shown = Answer(above.level, above.index, parent.content)
            return shown_node(shown, demand.level, demand.index) or _NO_HASH
        accepted = self._results.get(self._accepted.get(demand.round, b""))
        if accepted is None or demand.level != self._federation.params().state_depth:
            return None
        return accepted.global_root

    def _confirm(self, answer: Answered) -> None:
        """Raise UntrueEvents unless the contract has an answer whose content no event confirms.

        Nobody answers a demand that seems to be answered, and then its result is convicted.
        """
        demand = self._federation.demand_by_id(answer.id)
        if demand is not None and demand.answerer != answer.answerer:
            raise UntrueEvents(f"the contract has no answer by {answer.answerer} to {answer.id}")
        self._confirmed.add(answer.id)

    def accepted(self, round_number: int, block_number: int) -> AcceptedRound:
        """The accepted result and the reveals of a round, read up to ``block_number`` if needed.

        Raises MissingEvents and UntrueEvents.
        """
        if round_number not in self._accepted and block_number > self._last_block:
            self._read_to(block_number)
        try:
            result = self._results[self._accepted[round_number]]
            return AcceptedRound(result, _in_order(self._updates[round_number]))
        except KeyError as error:
            raise MissingEvents(
                f"The node has no events of round {round_number}, which the contract accepted.",
                "Use an RPC endpoint that keeps all logs.",
            ) from error

    # ------------------------------------------------------------------ rounds

    @property
    def results(self) -> Mapping[bytes, Result]:
        """Every result that an aggregator signed, by its digest, whether accepted or not."""
        return MappingProxyType(self._results)

    @property
    def accepted_digests(self) -> Mapping[int, bytes]:
        """The accepted result's digest by its round, revoked rounds included."""
        return MappingProxyType(self._accepted)

    def proposed(self, round_number: int) -> dict[bytes, Result]:
        """Every result of a round that an aggregator signed, accepted or not, by its digest."""
        return {d: result for d, result in self._results.items() if result.round == round_number}

    def updates(self, round_number: int) -> list[RevealedUpdate]:
        """The counted reveals of a round, in their order."""
        return _in_order(self._updates.get(round_number, {}))

    # ------------------------------------------------------------------ disputes

    @property
    def frauds(self) -> Mapping[bytes, FraudProven]:
        """The results that are proven fraudulent, accepted or not, by their digest."""
        return MappingProxyType(self._frauds)

    @property
    def revocations(self) -> Mapping[int, RoundRevoked]:
        """The rounds that were revoked themselves, with their events.

        Later rounds that were based on them are orphaned, but not included here.
        """
        return MappingProxyType(self._revocations)


def signers_of(
    federation: Federation, from_block: int, round_number: int, digest: bytes
) -> list[str]:
    """The aggregators that signed a result that is known from other events.

    Raises MissingEvents if there are no signatures of it.
    """
    signers = federation.signers(from_block, round_number=round_number).get(digest)
    if signers is None:
        raise MissingEvents(
            f"The node has no signatures of a result of round {round_number}, which it listed.",
            "A reorganisation may have dropped it; else use an RPC endpoint that keeps all logs.",
        )
    return signers


def continues(previous: Demanded, demand: Demanded) -> bool:
    """Whether a demand is for a node that the answer to the previous demand contains."""
    levels = levels_shown(previous.level)
    return (
        (previous.round, previous.level) == (demand.round, demand.level + levels)
        and levels > 0
        and demand.index >> levels == previous.index
        and previous.id < demand.id
    )


def _in_order(updates: Mapping[int, RevealedUpdate]) -> list[RevealedUpdate]:
    return [updates[index] for index in sorted(updates)]


def _merged(searches: Sequence[_Search[_F]]) -> _Search[_F]:
    """Merge searches into one. A reorg that affects any of its blocks discards all of it."""
    merged: _F = functools.reduce(lambda one, later: one.merged(later), (s.found for s in searches))
    return _Search(searches[-1].last, searches[-1].hash, merged)
