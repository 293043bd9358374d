"""The relay of a private federation: signed messages, and what aggregators tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fl_orchestrator.chain.types import (
    MaskedUpdate,
    Signature,
    SignedClaim,
    SignedMaskedCommit,
)
from fl_orchestrator.model.private_digests import PrivateResult
from fl_orchestrator.roles.masked.words import SignedWord
from fl_orchestrator.roles.relay import Mailbox, Relay


@dataclass(frozen=True, slots=True)
class SignedPrivateResult:
    """An aggregator's signature for a result, with the seeds that the result opens."""

    result: PrivateResult
    seeds: bytes
    signature: Signature


PrivateMessage = SignedMaskedCommit | MaskedUpdate | SignedClaim | SignedWord | SignedPrivateResult


class PrivateRelay(Relay, Protocol):
    """Accepts the messages of a private federation; see `Relay`."""

    def post_masked_commit(self, round_number: int, commit: SignedMaskedCommit) -> None: ...

    def put_masked(
        self, round_number: int, update: MaskedUpdate, file: Path, seconds: float
    ) -> None:
        """Make a masked update's bytes available; ``seconds`` is the timeout of the upload."""
        ...

    def post_masked_reveal(self, round_number: int, update: MaskedUpdate) -> None: ...

    def post_claim(self, round_number: int, claim: SignedClaim) -> None: ...

    def post_word(self, word: SignedWord) -> None: ...

    def words(self, round_number: int) -> Sequence[SignedWord]:
        """What aggregators have posted for each other in a round."""
        ...

    def post_private_attestation(self, signed: SignedPrivateResult) -> None: ...


class PrivateMailbox(Mailbox):
    """A private relay within one process."""

    def post_masked_commit(self, round_number: int, commit: SignedMaskedCommit) -> None:
        self._put(round_number, f"commit {commit.party.lower()}", commit)

    def put_masked(
        self, round_number: int, update: MaskedUpdate, file: Path, seconds: float
    ) -> None:
        """Do nothing, because the roles of one process share a store."""

    def post_masked_reveal(self, round_number: int, update: MaskedUpdate) -> None:
        self._put(round_number, f"reveal {update.party.lower()}", update)

    def post_claim(self, round_number: int, claim: SignedClaim) -> None:
        self._put(round_number, f"claim {(claim.r + claim.vs).hex()}", claim)

    def post_word(self, word: SignedWord) -> None:
        self._put(word.round, f"word {(word.signature.r + word.signature.vs).hex()}", word)

    def words(self, round_number: int) -> list[SignedWord]:
        return self.waiting(round_number, SignedWord)

    def post_private_attestation(self, signed: SignedPrivateResult) -> None:
        name = f"attestation {(signed.signature.r + signed.signature.vs).hex()}"
        self._put(signed.result.round, name, signed)
