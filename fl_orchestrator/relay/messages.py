"""The messages that a relay accepts, as JSON: the same over HTTP and in the mailbox's file.

Every value has a limit, so that the contract can decode every well-formed message. Hashes are 0x
and lower-case hexadecimal digits, CIDs their base32 text.
"""

from __future__ import annotations

import functools
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from web3 import Web3

from fl_orchestrator.chain.types import Signature, SignedCommit, Update
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ContentError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.protocol import ADDRESS, MAX_WEIGHT
from fl_orchestrator.roles.relay import SignedResult

#: The largest size of a message as JSON, in bytes.
MAX_MESSAGE_BYTES: Final = 2048

_WORD: Final = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_BITMAP: Final = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,31})", re.ASCII)


def _address(text: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise ValueError("expected 0x and 40 hexadecimal digits")
    return Web3.to_checksum_address(text)


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("expected 0x and 64 lower-case hexadecimal digits")
    return text


def _bitmap(text: str) -> str:
    if not _BITMAP.fullmatch(text):
        raise ValueError("expected 0x and at most 32 lower-case hexadecimal digits")
    return text


def _cid(text: str) -> str:
    try:
        cid = Cid.parse(text)
    except ContentError as error:
        raise ValueError(error.message) from error
    if not any(cid.digest):
        raise ValueError("no file has this CID, and the contract refuses it")
    return text


Address = Annotated[str, AfterValidator(_address)]
Word = Annotated[str, AfterValidator(_word)]
Bitmap = Annotated[str, AfterValidator(_bitmap)]
CidText = Annotated[str, AfterValidator(_cid)]
Round = Annotated[int, Field(ge=1, lt=1 << 32)]


class RelayMessage(BaseModel, ABC):
    """What all messages have: their round."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    round: Round

    @abstractmethod
    def value(self) -> Any:
        """The message as roles have it."""


class CommitMessage(RelayMessage):
    """A party's signed commitment."""

    party: Address
    commitment: Word
    r: Word
    vs: Word

    @classmethod
    def of(cls, round_number: int, commit: SignedCommit) -> CommitMessage:
        return cls(
            round=round_number,
            party=commit.party,
            commitment=to_hex(commit.commitment),
            r=to_hex(commit.r),
            vs=to_hex(commit.vs),
        )

    def value(self) -> SignedCommit:
        return SignedCommit(
            self.party, to_bytes(self.commitment), to_bytes(self.r), to_bytes(self.vs)
        )


class RevealMessage(RelayMessage):
    """The preimage of a commitment."""

    party: Address
    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)]
    root: Word
    cid: CidText
    salt: Word

    @classmethod
    def of(cls, round_number: int, update: Update) -> RevealMessage:
        return cls(
            round=round_number,
            party=update.party,
            weight=update.weight,
            root=to_hex(update.root),
            cid=str(update.cid),
            salt=to_hex(update.salt),
        )

    def value(self) -> Update:
        cid = Cid.parse(self.cid)
        return Update(self.party, self.weight, to_bytes(self.root), cid, to_bytes(self.salt))


class ResultMessage(RelayMessage, ABC):
    """What signed results of both kinds of federation have."""

    updates_hash: Word
    base_root: Word
    included: Bitmap
    global_root: Word
    global_cid: CidText
    r: Word
    vs: Word

    @staticmethod
    def common(result: Any, signature: Signature) -> dict[str, str]:
        """These fields of a result and its signature, but the round."""
        return {
            "updates_hash": to_hex(result.updates_hash),
            "base_root": to_hex(result.base_root),
            "included": hex(result.included),
            "global_root": to_hex(result.global_root),
            "global_cid": str(result.global_cid),
            "r": to_hex(signature.r),
            "vs": to_hex(signature.vs),
        }

    def result(self) -> Result:
        """The result, as that of a plain federation."""
        return Result(
            self.round,
            to_bytes(self.updates_hash),
            to_bytes(self.base_root),
            int(self.included, 16),
            to_bytes(self.global_root),
            Cid.parse(self.global_cid),
        )

    def signature(self) -> Signature:
        return Signature(to_bytes(self.r), to_bytes(self.vs))


class AttestationMessage(ResultMessage):
    """An aggregator's signature for a result of the round."""

    @classmethod
    def of(cls, round_number: int, signed: SignedResult) -> AttestationMessage:
        return cls(round=round_number, **cls.common(signed.result, signed.signature))

    def value(self) -> SignedResult:
        return SignedResult(self.result(), self.signature())


def any_of(forms: Iterable[type[RelayMessage]]) -> TypeAdapter[RelayMessage]:
    """Reads a message of one of these forms; their fields differ, so a text is of one only."""
    return TypeAdapter(functools.reduce(operator.or_, forms))


def to_hex(data: bytes) -> str:
    return "0x" + data.hex()


def to_bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


#: The JSON form of each type of message.
FORMS: Final[dict[type, Any]] = {
    SignedCommit: CommitMessage,
    Update: RevealMessage,
    SignedResult: AttestationMessage,
}
