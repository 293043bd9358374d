"""What proofs against a wrong result need of the contract that judges them.

A federation and the index of its rounds are one court; a mirror is another, with the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.event_types import Answered, Demanded
from fl_orchestrator.chain.types import Demand, Fraud, Params, Window
from fl_orchestrator.model.digests import Result

if TYPE_CHECKING:
    from web3 import Web3


class Now(Protocol):
    """The latest block of the court's chain, and its time in seconds."""

    @property
    def block_number(self) -> int: ...

    @property
    def timestamp(self) -> int: ...


class Court(Protocol):
    """The contract, by the rounds of the federation."""

    @property
    def web3(self) -> Web3: ...

    @property
    def reverts(self) -> RevertDecoder: ...

    def params(self) -> Params: ...

    def window(self, round_number: int) -> Window: ...

    def fraud(self, digest: bytes) -> Fraud: ...

    def registered_at(self, challenge: bytes) -> int: ...

    def demand_by_id(self, demand_id: int) -> Demand | None: ...

    def register_challenge(self, challenge: bytes) -> Call: ...

    def demand(self, round_number: int, level: int, index: int, value: int) -> Call: ...

    def descend(self, previous: int, index: int, value: int) -> Call: ...

    def expire(self, demand_id: int, result: Result) -> Call: ...

    def close_descent(self, demand_id: int) -> Call: ...


class Docket(Protocol):
    """What the contract's events say: see `RoundIndex`."""

    @property
    def accepted_digests(self) -> Mapping[int, bytes]: ...

    @property
    def demands(self) -> Mapping[int, Demanded]: ...

    @property
    def answers(self) -> Mapping[int, Answered]: ...
