"""How the updates of a result make its model, and what proves a wrong one to the contract.

Plain and private federations differ in this alone: whoever computes a model again, proves that one
is wrong, or audits one, does it by this interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.model.disputes.proof import ChunkProof
from fl_orchestrator.roles.vectors import MadeVector, VectorFile

#: Updates on this disk, each with its reveal, in the order of the reveals.
Updates = Sequence[tuple[VectorFile, RevealedUpdate]]


@dataclass(frozen=True, slots=True)
class Combined:
    """A model made from updates.

    ``wrong_seed`` is the number of the first opened seed that is not the one of its update, or
    None; the model is made with the seeds that were opened. ``limited``: most coordinates of its
    step are at the step limit.
    """

    file: MadeVector
    wrong_seed: int | None = None
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What every challenge of a result has: all counted reveals, and the included updates."""

    result: Any
    reveals: Sequence[RevealedUpdate]
    updates: Updates
    salt: bytes


class Combination(Protocol):
    """The arithmetic of one kind of federation. A result is one of its own kind."""

    def prepare(self, result: Any) -> None:
        """Read what it takes to fetch a result's updates.

        Raises MissingEvents and UntrueEvents.
        """
        ...

    def fetch(self, reveal: RevealedUpdate, stop: Callable[[], bool]) -> VectorFile:
        """Fetch an update of a prepared result; any thread may call this.

        Raises ContentError and RootMismatch.
        """
        ...

    def combine(self, result: Any, base: VectorFile, updates: Updates) -> Combined:
        """The model of the included updates. Raises MissingEvents and UntrueEvents."""
        ...

    def challenge(self, evidence: Evidence, coordinate: int, models: Sequence[ChunkProof]) -> Call:
        """The challenge of a coordinate; ``models`` prove its chunk of the claimed model.

        Before, they prove the chunks of the base that it depends on: see `Layout.base_chunks`.

        Raises RootMismatch if a file was damaged on this disk.
        """
        ...

    def challenge_seed(self, evidence: Evidence, number: int) -> Call:
        """The challenge of an opened seed. Raises RootMismatch if a file was damaged."""
        ...
