"""The messages that a relay accepts, as JSON: the same over HTTP and in the mailbox's file.

Every value has a limit, so that the contract can decode every well-formed message. Hashes are 0x
and lower-case hexadecimal digits, CIDs their base32 text.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from web3 import Web3

from fl_orchestrator.chain.types import Signature, SignedCommit, Update
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ContentError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.protocol import ADDRESS, MAX_WEIGHT
from fl_orchestrator.roles.relay import Message, SignedResult

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


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    round: Round


class CommitMessage(_Message):
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
            commitment=_hex(commit.commitment),
            r=_hex(commit.r),
            vs=_hex(commit.vs),
        )

    def value(self) -> SignedCommit:
        return SignedCommit(self.party, _bytes(self.commitment), _bytes(self.r), _bytes(self.vs))


class RevealMessage(_Message):
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
            root=_hex(update.root),
            cid=str(update.cid),
            salt=_hex(update.salt),
        )

    def value(self) -> Update:
        cid = Cid.parse(self.cid)
        return Update(self.party, self.weight, _bytes(self.root), cid, _bytes(self.salt))


class AttestationMessage(_Message):
    """An aggregator's signature for a result of the round."""

    updates_hash: Word
    base_root: Word
    included: Bitmap
    global_root: Word
    global_cid: CidText
    r: Word
    vs: Word

    @classmethod
    def of(cls, signed: SignedResult) -> AttestationMessage:
        result, signature = signed.result, signed.signature
        return cls(
            round=result.round,
            updates_hash=_hex(result.updates_hash),
            base_root=_hex(result.base_root),
            included=hex(result.included),
            global_root=_hex(result.global_root),
            global_cid=str(result.global_cid),
            r=_hex(signature.r),
            vs=_hex(signature.vs),
        )

    def value(self) -> SignedResult:
        result = Result(
            self.round,
            _bytes(self.updates_hash),
            _bytes(self.base_root),
            int(self.included, 16),
            _bytes(self.global_root),
            Cid.parse(self.global_cid),
        )
        return SignedResult(result, Signature(_bytes(self.r), _bytes(self.vs)))


AnyMessage = CommitMessage | RevealMessage | AttestationMessage


def message_of(round_number: int, message: Message) -> AnyMessage:
    """A message in its JSON form."""
    if isinstance(message, SignedCommit):
        return CommitMessage.of(round_number, message)
    if isinstance(message, Update):
        return RevealMessage.of(round_number, message)
    return AttestationMessage.of(message)


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
