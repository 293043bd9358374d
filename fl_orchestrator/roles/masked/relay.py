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
from fl_orchestrator.roles.relay import Mailbox, Relay, name_of


@dataclass(frozen=True, slots=True)
class SignedPrivateResult:
    """An aggregator's signature for a result, with the seeds that the result opens."""

    result: PrivateResult
    seeds: bytes
    signature: Signature


@name_of.register(SignedMaskedCommit)
def _(commit: SignedMaskedCommit) -> str:
    return f"commit {commit.party.lower()}"


@name_of.register(MaskedUpdate)
def _(update: MaskedUpdate) -> str:
    return f"reveal {update.party.lower()}"


@name_of.register(SignedClaim)
def _(claim: SignedClaim) -> str:
    return f"claim {(claim.r + claim.vs).hex()}"


@name_of.register(SignedWord)
def _(word: SignedWord) -> str:
    return f"word {(word.signature.r + word.signature.vs).hex()}"


@name_of.register(SignedPrivateResult)
def _(signed: SignedPrivateResult) -> str:
    return f"attestation {(signed.signature.r + signed.signature.vs).hex()}"


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

    def put_release(self, word: SignedWord, data: bytes, seconds: float) -> None:
        """Make a release file's bytes available; ``word`` is the signed release that names it."""
        ...

    def post_word(self, word: SignedWord) -> None: ...

    def words(self, round_number: int) -> Sequence[SignedWord]:
        """What aggregators have posted for each other in a round."""
        ...

    def post_private_attestation(self, signed: SignedPrivateResult) -> None: ...


class PrivateMailbox(Mailbox):
    """A private relay within one process."""

    def post_masked_commit(self, round_number: int, commit: SignedMaskedCommit) -> None:
        self.post(round_number, commit)

    def put_masked(
        self, round_number: int, update: MaskedUpdate, file: Path, seconds: float
    ) -> None:
        """Do nothing, because the roles of one process share a store."""

    def post_masked_reveal(self, round_number: int, update: MaskedUpdate) -> None:
        self.post(round_number, update)

    def post_claim(self, round_number: int, claim: SignedClaim) -> None:
        self.post(round_number, claim)

    def put_release(self, word: SignedWord, data: bytes, seconds: float) -> None:
        """Do nothing, because the roles of one process share a store."""

    def post_word(self, word: SignedWord) -> None:
        self.post(word.round, word)

    def words(self, round_number: int) -> list[SignedWord]:
        return self.waiting(round_number, SignedWord)

    def post_private_attestation(self, signed: SignedPrivateResult) -> None:
        self.post(signed.result.round, signed)
