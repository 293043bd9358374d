"""How a party's update reaches the chain: what it keeps, commits to and reveals.

A `Submission` is one way to do so; the party decides when. `PlainSubmission` is the way of a
federation whose updates everybody may read (docs/protocol.md, section 5.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.chain.contract.federation import NO_COMMITMENT, Call
from fl_orchestrator.chain.types import CommitView, Observation, Phase, Update
from fl_orchestrator.errors import FloError
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.party.journal import DamagedJournal, Journal, OpenCommitment
from fl_orchestrator.roles.relay import RELAY_SHARE, Relay
from fl_orchestrator.roles.vectors import VectorFile

#: An update as flat blocks, in order.
Blocks = Iterable[NDArray[np.int16]]


class MustSitOut(FloError):
    """The party takes no part in this round: its update would not be as private as it must be."""


class Entry(Protocol):
    """What a party keeps of a round, from before its commit until nothing can be due any more."""

    @property
    def round(self) -> int: ...

    @property
    def weight(self) -> int: ...

    def opens(self, slot: CommitView) -> bool:
        """Whether it is what the party has committed to, as its slot in the contract says."""
        ...


_E = TypeVar("_E", bound=Entry)


@dataclass(frozen=True, slots=True)
class Message:
    """What a party has to tell the contract: by its own call, or by a request to a relay."""

    call: Call
    post: Callable[[Relay], None]


class Submission(Protocol[_E]):
    """One way for an update to reach the chain. Every method may be repeated, after a crash too."""

    def entry(self, round_number: int) -> _E | None:
        """What is kept of a round, if anything. Raises DamagedJournal."""
        ...

    def prepare(
        self, round_number: int, blocks: Blocks, weight: int, state: bytes | None = None
    ) -> _E:
        """Keep an update (flat blocks), its weight, and what the site keeps after its training.

        All of it is durable on return, or nothing is kept.
        """
        ...

    def permit(self, seen: Observation, weight: int | None) -> None:
        """Raise MustSitOut unless an update of this weight (None: not known yet) may be made."""
        ...

    def forget_before(self, round_number: int) -> None:
        """Delete what is kept of earlier rounds."""
        ...

    def come_back(self, round_number: int) -> Message:
        """The wish of a party that is marked absent to be waited for again."""
        ...

    def commit(self, entry: _E) -> Message: ...

    def reveal(self, seen: Observation, entry: _E, provide: bool) -> Message:
        """The reveal of an update; ``provide`` stores its file first, and ``post`` uploads it too.

        Only when the commit phase has closed, with its confirmations. Raises DamagedJournal.
        """
        ...

    def upload(self, seen: Observation, entry: _E) -> Callable[[Relay], None] | None:
        """The upload alone, of an update that was revealed without it; None: it cannot be."""
        ...


class PlainSubmission:
    """Commits to an update's root, and reveals the update in the clear.

    ``salt(round)`` must be unpredictable for everybody else.
    """

    def __init__(self, context: Context, salt: Callable[[int], bytes]) -> None:
        self._federation = context.federation
        self._signer = context.sender.signer
        self._store = context.store
        self._retention = context.retention
        self._origin = context.origin
        self._vectors = context.vectors()
        self._salt = salt
        self.journal = Journal(context.home / "journal", self._origin)

    def entry(self, round_number: int) -> OpenCommitment | None:
        return self.journal.load(round_number)

    def prepare(
        self, round_number: int, blocks: Blocks, weight: int, state: bytes | None = None
    ) -> OpenCommitment:
        file = self._vectors.write(self._origin.update(round_number), blocks)
        salt = self._salt(round_number)
        update = Update(self._signer.address, weight, file.root, file.cid, salt)
        return self.journal.save(round_number, update, file.path, state)

    def permit(self, seen: Observation, weight: int | None) -> None:
        """Everybody may: what others do with the update is public, and so is the update."""

    def forget_before(self, round_number: int) -> None:
        self.journal.forget_before(round_number)

    def come_back(self, round_number: int) -> Message:
        return self._commitment(round_number, NO_COMMITMENT)

    def commit(self, entry: OpenCommitment) -> Message:
        return self._commitment(entry.round, entry.commitment)

    def _commitment(self, round_number: int, commitment: bytes) -> Message:
        def post(relay: Relay) -> None:
            commit = self._federation.sign_commit(self._signer, round_number, commitment)
            relay.post_commit(round_number, commit)

        return Message(self._federation.commit(round_number, commitment), post)

    def reveal(self, seen: Observation, entry: OpenCommitment, provide: bool) -> Message:
        if provide:
            self._provide(entry)

        upload = self.upload(seen, entry)

        def post(relay: Relay) -> None:
            upload(relay)
            relay.post_reveal(entry.round, entry.update)

        return Message(self._federation.reveal([entry.update]), post)

    def upload(self, seen: Observation, entry: OpenCommitment) -> Callable[[Relay], None]:
        current = seen.current
        end = current.reveal_end if current.phase is Phase.REVEAL else current.attest_end
        seconds = (end - seen.timestamp) * RELAY_SHARE
        return lambda relay: relay.put_update(entry.round, entry.update, entry.path, seconds)

    def _provide(self, entry: OpenCommitment) -> None:
        if self._retention is not None:
            self._retention.note([(entry.update.cid, self._origin.update(entry.round))])
        stored = self._store.put_file(entry.path)
        if stored != entry.update.cid:
            raise DamagedJournal(
                f"The update {entry.path} is not the one that was committed to.",
                "Restore it from a backup: an update that nobody can get does not count.",
            )
        meta = self._origin.update(entry.round)
        self._vectors.share(VectorFile(entry.path, meta, entry.update.root))
