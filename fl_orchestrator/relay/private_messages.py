"""The messages of private federations that a relay accepts, as JSON; see `messages`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from fl_orchestrator.chain.types import (
    MaskedUpdate,
    Signature,
    SignedClaim,
    SignedMaskedCommit,
)
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.private_digests import Confirmed, Release, private_result
from fl_orchestrator.model.protocol import MAX_UPDATES, MAX_WEIGHT
from fl_orchestrator.model.words import WORD_BYTES
from fl_orchestrator.relay.messages import (
    FORMS,
    MAX_MESSAGE_BYTES,
    Address,
    Bitmap,
    CidText,
    RelayMessage,
    ResultMessage,
    Word,
    to_bytes,
    to_hex,
)
from fl_orchestrator.roles.masked.relay import SignedPrivateResult
from fl_orchestrator.roles.masked.words import SignedWord

#: The most seeds that a result can open: of m updates and c commits, it opens m (1 + c - m).
MAX_SEEDS: Final = (MAX_UPDATES + 1) ** 2 // 4
#: The largest size of a signed result as JSON, in bytes: its seeds are in hexadecimal digits.
MAX_RESULT_BYTES: Final = MAX_MESSAGE_BYTES + 2 * WORD_BYTES * MAX_SEEDS

_SEEDS: Final = re.compile(r"0x([0-9a-f]{64})+", re.ASCII)


def _seeds(text: str) -> str:
    if len(text) > 2 + 2 * WORD_BYTES * MAX_SEEDS or not _SEEDS.fullmatch(text):
        raise ValueError(f"expected 0x and 1 to {MAX_SEEDS} times 64 lower-case digits")
    return text


Seeds = Annotated[str, AfterValidator(_seeds)]


class MaskedCommitMessage(RelayMessage):
    """A party's signed commit: its weight and the key of its masks."""

    party: Address
    weight: Annotated[int, Field(ge=0, le=MAX_WEIGHT)]
    mask_key: Word
    r: Word
    vs: Word

    @classmethod
    def of(cls, round_number: int, commit: SignedMaskedCommit) -> MaskedCommitMessage:
        return cls(
            round=round_number,
            party=commit.party,
            weight=commit.weight,
            mask_key=to_hex(commit.mask_key),
            r=to_hex(commit.r),
            vs=to_hex(commit.vs),
        )

    def value(self) -> SignedMaskedCommit:
        signature = to_bytes(self.r), to_bytes(self.vs)
        return SignedMaskedCommit(self.party, self.weight, to_bytes(self.mask_key), *signature)


class MaskedRevealMessage(RelayMessage):
    """A party's signed reveal. It is signed for the commits that the contract has counted."""

    party: Address
    root: Word
    cid: CidText
    r: Word
    vs: Word

    @classmethod
    def of(cls, round_number: int, update: MaskedUpdate) -> MaskedRevealMessage:
        return cls(
            round=round_number,
            party=update.party,
            root=to_hex(update.root),
            cid=str(update.cid),
            r=to_hex(update.r),
            vs=to_hex(update.vs),
        )

    def value(self) -> MaskedUpdate:
        signature = to_bytes(self.r), to_bytes(self.vs)
        return MaskedUpdate(self.party, to_bytes(self.root), Cid.parse(self.cid), *signature)


class ClaimMessage(RelayMessage):
    """An aggregator's signed claim. It is signed for the commits and reveals that were counted."""

    held: Bitmap
    r: Word
    vs: Word

    @classmethod
    def of(cls, round_number: int, claim: SignedClaim) -> ClaimMessage:
        return cls(round=round_number, held=hex(claim.held), r=to_hex(claim.r), vs=to_hex(claim.vs))

    def value(self) -> SignedClaim:
        return SignedClaim(int(self.held, 16), to_bytes(self.r), to_bytes(self.vs))


class WordMessage(RelayMessage):
    """What an aggregator tells the others: that it confirms a lock, or where its release is."""

    lock: Word
    cid: CidText | None = None
    r: Word
    vs: Word

    @classmethod
    def of(cls, round_number: int, word: SignedWord) -> WordMessage:
        message = word.message
        return cls(
            round=round_number,
            lock=to_hex(message.lock),
            cid=str(message.cid) if isinstance(message, Release) else None,
            r=to_hex(word.signature.r),
            vs=to_hex(word.signature.vs),
        )

    def value(self) -> SignedWord:
        lock = to_bytes(self.lock)
        message: Confirmed | Release = Confirmed(self.round, lock)
        if self.cid is not None:
            message = Release(self.round, lock, Cid.parse(self.cid))
        return SignedWord(message, Signature(to_bytes(self.r), to_bytes(self.vs)))


class PrivateAttestationMessage(ResultMessage):
    """An aggregator's signature for a result of the round, and the seeds that the result opens."""

    seeds: Seeds
    seeds_hash: Word

    @classmethod
    def of(cls, round_number: int, signed: SignedPrivateResult) -> PrivateAttestationMessage:
        return cls(
            round=round_number,
            seeds=to_hex(signed.seeds),
            seeds_hash=to_hex(signed.result.seeds_hash),
            **cls.common(signed.result, signed.signature),
        )

    def value(self) -> SignedPrivateResult:
        result = private_result(self.result(), to_bytes(self.seeds_hash))
        return SignedPrivateResult(result, to_bytes(self.seeds), self.signature())


#: The JSON form of each type of message, of both kinds of federation.
ALL_FORMS: Final[dict[type, Any]] = {
    **FORMS,
    SignedMaskedCommit: MaskedCommitMessage,
    MaskedUpdate: MaskedRevealMessage,
    SignedClaim: ClaimMessage,
    SignedWord: WordMessage,
    SignedPrivateResult: PrivateAttestationMessage,
}
