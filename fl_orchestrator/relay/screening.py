"""A relay's checks: it accepts only what the contract would accept now, to waste no gas."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import (
    Observation,
    Phase,
    RoundView,
    Signature,
    SignedCommit,
    StakeView,
    Update,
)
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import commit_digest, commitment, result_digest
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.protocol import COMMITMENT_BYTES
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta, max_file_bytes
from fl_orchestrator.relay.messages import (
    MAX_MESSAGE_BYTES,
    AttestationMessage,
    CommitMessage,
    RelayMessage,
    RevealMessage,
)
from fl_orchestrator.roles.relay import MAX_RESULTS, SignedResult
from fl_orchestrator.roles.vectors import Origin

_FRESH_SECONDS: Final = 1.0
_MAX_CACHED: Final = 1024
_PATIENCE_SECONDS: Final = 10.0
_NOBODY: Final = "0x" + "0" * 40
_AFTER_COMMIT: Final = (Phase.REVEAL, Phase.ATTEST)
# A private round claims before it attests, whatever the numbers of the phases.
_ORDER: Final = (
    *(Phase.IDLE, Phase.SEEDING, Phase.COMMIT, Phase.REVEAL),
    *(Phase.CLAIM, Phase.ATTEST, Phase.ACCEPTED, Phase.VOID),
)
#: A result is signed in these phases.
ATTESTING: Final = (Phase.ATTEST, Phase.ACCEPTED)


class Refused(Exception):
    """A message that is refused, with an HTTP status and a sentence that gives the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class TooEarly(Refused):
    """A message to retry soon: this relay's node may be a block behind the author's."""

    def __init__(self, reason: str) -> None:
        super().__init__(425, reason)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a signed message announces; ``meta`` says how long it is kept."""

    seen: Observation
    author: str
    cid: Cid
    meta: VectorMeta
    max_bytes: int


@dataclass(frozen=True, slots=True)
class MessageKind:
    """What a relay accepts at ``/v1/<path>``.

    ``screen(round, message)`` returns the author, or raises Refused. ``upload``, if the message
    announces a file, checks that the file may come now.
    """

    path: str
    form: type[RelayMessage]
    screen: Callable[[int, Any], str]
    upload: Callable[[int, Any], Upload] | None = None
    max_bytes: int = MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class _Cached:
    seen: Observation
    at: float


class Screening:
    """Checks messages against the contract's state, which is cached for a second per account.

    Only one check at a time sends a request to the node, and the others wait for it with a timeout.
    Every check raises Refused.
    """

    def __init__(
        self,
        federation: Federation,
        manifest: Manifest,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._federation = federation
        self._layout = manifest.layout
        self._origin = Origin(federation.chain_id, federation.address)
        self._clock = clock
        self._min_updates = federation.params().min_updates
        self._cache: dict[str, _Cached] = {}
        self._taken: dict[tuple[str, str], set[object]] = {}
        self._taken_round = 0
        self._lock = threading.Lock()

    @property
    def kinds(self) -> tuple[MessageKind, ...]:
        """The messages that this federation has."""
        return (
            MessageKind("commits", CommitMessage, self.commit),
            MessageKind("reveals", RevealMessage, self.reveal, self.upload),
            MessageKind("attestations", AttestationMessage, self.attestation),
        )

    @property
    def max_update_bytes(self) -> int:
        """The largest size of an update."""
        return max_file_bytes(self._layout, VectorKind.UPDATE)

    @property
    def max_upload_bytes(self) -> int:
        """The largest size of any file that is uploaded."""
        return self.max_update_bytes

    def current(self) -> Observation:
        """The chain's state, without that of any account."""
        return self._observe(_NOBODY)

    def commit(self, round_number: int, commit: SignedCommit) -> str:
        self._require(round_number, "commit", Phase.COMMIT)
        digest = commit_digest(*self._here, round_number, commit.party, commit.commitment)
        if recover(digest, Signature(commit.r, commit.vs)) != commit.party:
            raise Refused(403, "The signature is not the party's.")
        seen = self._require_drawn(round_number, commit.party)
        # Zero is the wish of a party that is marked absent.
        if not any(commit.commitment[:COMMITMENT_BYTES]) and not seen.committed.absent:
            raise Refused(403, "The commitment is zero.")
        return commit.party

    def _require_drawn(self, round_number: int, party: str) -> Observation:
        """Require a party that may commit in the round."""
        seen = self._observe(party)
        require_phase(seen.current, round_number, "commit", Phase.COMMIT)
        if seen.party.frozen_stake == 0:
            raise Refused(403, f"{party} is not a party whose stake counts in this round.")
        if not seen.drawn:
            raise Refused(403, f"{party} is not drawn in this round.")
        if seen.committed.round == round_number:
            raise Refused(409, f"{party} has committed in this round.")
        return seen

    def reveal(self, round_number: int, update: Update) -> str:
        seen = self._require_opening(round_number, update, "reveal", Phase.REVEAL)
        if seen.committed.revealed:
            raise Refused(409, f"{update.party} has revealed in this round.")
        return update.party

    def upload(self, round_number: int, update: Update) -> Upload:
        """Check that an update's bytes may be uploaded: not before the commit phase has closed.

        They are accepted also after the update was revealed.
        """
        seen = self._require_opening(round_number, update, "upload", *_AFTER_COMMIT)
        meta = self._origin.update(round_number)
        return Upload(seen, update.party, update.cid, meta, self.max_update_bytes)

    def attestation(self, round_number: int, signed: SignedResult) -> str:
        current = self._require(round_number, "attestation", *ATTESTING).current
        digest = result_digest(*self._here, signed.result)
        return self._require_result(current, signed, digest)

    def _require_result(self, current: RoundView, signed: Any, digest: bytes) -> str:
        """Check what the signed results of both kinds of federations have; return the signer."""
        result = signed.result
        if (result.updates_hash, result.base_root) != (current.updates_hash, current.base_root):
            raise Refused(409, "The result is for other updates or for another base model.")
        phantom = result.included >> current.reveals
        if (
            phantom
            or result.included.bit_count() < self._min_updates
            or not any(result.global_root)
        ):
            raise Refused(403, "The result includes updates that do not exist, or too few.")
        signer, seat = self._require_seat(digest, signed.signature)
        with self._alone():
            counted = self._federation.attestation(digest)
        if counted.signers >> seat.seat & 1:
            raise Refused(409, f"{signer} has attested to this result.")
        if current.phase is Phase.ACCEPTED and not counted.accepted:
            raise Refused(409, "Another result was accepted.")
        self._count(current.round, signer, "signatures", signed, MAX_RESULTS)
        return signer

    def _require_seat(self, digest: bytes, signature: Signature) -> tuple[str, StakeView]:
        """The signer, which must be an aggregator that counts in the round."""
        signer = recover(digest, signature)
        seat = self._observe(signer).aggregator if signer else None
        if signer is None or seat is None or seat.frozen_stake == 0:
            raise Refused(403, "The signer is not an aggregator whose stake counts in this round.")
        return signer, seat

    @property
    def _here(self) -> tuple[int, str]:
        return self._federation.chain_id, self._federation.address

    def _require(self, round_number: int, what: str, *phases: Phase) -> Observation:
        seen = self.current()
        require_phase(seen.current, round_number, what, *phases)
        return seen

    def _require_opening(
        self, round_number: int, update: Update, what: str, *phases: Phase
    ) -> Observation:
        """Require the preimage of the party's commitment in the round."""
        self._require(round_number, what, *phases)
        seen = self._observe(update.party)
        require_phase(seen.current, round_number, what, *phases)
        if seen.committed.round != round_number:
            raise Refused(403, f"{update.party} has not committed in this round.")
        chain_id, address = self._here
        opened = commitment(
            chain_id=chain_id,
            federation=address,
            round_number=round_number,
            party=update.party,
            root=update.root,
            cid=update.cid,
            weight=update.weight,
            salt=update.salt,
        )
        if opened[:COMMITMENT_BYTES] != seen.committed.commitment or not any(update.root):
            raise Refused(403, f"This is not what {update.party} has committed to.")
        return seen

    def _count(
        self, round_number: int, signer: str, what: str, message: object, at_most: int
    ) -> None:
        """Limit the messages of one kind and one signer in a round.

        Each may cost a transaction or space, and one key can make any number of valid signatures.
        """
        with self._alone():
            if self._taken_round != round_number:
                self._taken, self._taken_round = {}, round_number
            taken = self._taken.setdefault((signer, what), set())
            if len(taken) >= at_most and message not in taken:
                raise Refused(429, f"{signer} has posted {at_most} {what} in this round.")
            taken.add(message)

    def _observe(self, account: str) -> Observation:
        with self._alone():
            cached = self._cache.get(account)
            if cached is None or self._clock() - cached.at > _FRESH_SECONDS:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                cached = _Cached(self._federation.observe(account), self._clock())
                self._cache[account] = cached
            return cached.seen

    def _alone(self) -> AbstractContextManager[None]:
        return patiently(self._lock, "node")


@contextlib.contextmanager
def patiently(lock: threading.Lock, what: str) -> Iterator[None]:
    """Hold a lock, but wait for it only with a timeout, because ``what`` may be slow.

    Each waiting request occupies one of the service's threads. Raises Refused.
    """
    if not lock.acquire(timeout=_PATIENCE_SECONDS):
        raise Refused(503, f"The relay's {what} does not answer at the moment.")
    try:
        yield
    finally:
        lock.release()


def require_phase(current: RoundView, round_number: int, what: str, *phases: Phase) -> None:
    now = f"round {current.round} is in its {current.phase.name.lower()} phase"
    early = _ORDER.index(current.phase) < min(map(_ORDER.index, phases))
    if round_number > current.round or (round_number == current.round and early):
        raise TooEarly(f"It is too early for this {what}: {now}.")
    if round_number < current.round or current.phase not in phases:
        raise Refused(409, f"It is too late for this {what}: {now}.")
