"""A member's answer to the owner: the account that it will use in a role, signed by that account.

The signature (EIP-712, in the federation's domain) proves that the member holds the key. It binds
the member's name, its role, the chain id, the federation, and the manifest digest and genesis root
that the member's own endpoint has shown. So an answer for another role or federation is worth
nothing here, and neither is one of a member that was shown another model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fl_orchestrator.chain.abi import checksummed
from fl_orchestrator.chain.signing.keys import Signer
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.errors import InputError
from fl_orchestrator.files import decoded, read_regular
from fl_orchestrator.json_text import to_json
from fl_orchestrator.members.terms import AgreedTerms
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.protocol import ADDRESS
from fl_orchestrator.model.words import address, bytes32, typed_digest

#: The roles that the owner of a federation admits.
ROLES: Final = ("party", "aggregator")
#: The name of the answer's file in a member's kit.
ANSWER_FILE: Final = "answer.json"
MAX_SHEET_BYTES: Final = 4096

# A folder's name on every system: no path, no hidden file, no option, nothing to escape.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-])){0,63}", re.ASCII)
# Windows takes these for devices, also with an ending.
_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.ASCII | re.IGNORECASE)
WORD: Final = r"^0x[0-9a-f]{64}$"
_ANSWER_TYPE: Final = (
    b"Answer(string name,string role,address account,bytes32 manifestDigest,bytes32 genesisRoot)"
)
_TYPES: Final = {
    "Answer": [
        {"name": "name", "type": "string"},
        {"name": "role", "type": "string"},
        {"name": "account", "type": "address"},
        {"name": "manifestDigest", "type": "bytes32"},
        {"name": "genesisRoot", "type": "bytes32"},
    ]
}


class BadAnswer(InputError):
    """A file that is no answer, or an answer that does not hold for this federation."""


def is_member_name(text: str) -> bool:
    """Whether a text can be a member's name, which is also the name of a folder."""
    return _NAME.fullmatch(text) is not None and _DEVICES.fullmatch(text) is None


def _member_name(text: str) -> str:
    if not is_member_name(text):
        raise ValueError("expected letters, digits, '-', '_' and '.'")
    return text


def _address(text: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise ValueError("expected 0x and 40 hexadecimal digits")
    return checksummed(text)


MemberName = Annotated[str, AfterValidator(_member_name)]
Address = Annotated[str, AfterValidator(_address)]
MemberRole = Literal["party", "aggregator"]
ChainId = Annotated[int, Field(ge=0, lt=1 << 256)]


class Answer(BaseModel):
    """Who a member is, its role and account, the federation, and its account's signature."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    version: Literal[1] = 1
    name: MemberName
    role: MemberRole
    account: Address
    chain_id: ChainId
    federation: Address
    r: Annotated[str, Field(pattern=WORD)]
    vs: Annotated[str, Field(pattern=WORD)]

    @classmethod
    def signed(cls, name: str, role: MemberRole, terms: AgreedTerms, signer: Signer) -> Self:
        """The answer of a signer's account. Raises what the signer raises."""
        domain = {
            "name": "Federation",
            "version": "1",
            "chainId": terms.chain_id,
            "verifyingContract": terms.federation,
        }
        message = {
            "name": name,
            "role": role,
            "account": signer.address,
            "manifestDigest": terms.manifest_digest,
            "genesisRoot": terms.genesis_root,
        }
        signature = signer.sign_typed_data(domain, _TYPES, message)
        return cls(
            name=name,
            role=role,
            account=signer.address,
            chain_id=terms.chain_id,
            federation=terms.federation,
            r="0x" + signature.r.hex(),
            vs="0x" + signature.vs.hex(),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an answer from a file. Raises BadAnswer."""
        try:
            data = read_regular(path, MAX_SHEET_BYTES)
        except OSError as error:
            raise BadAnswer(
                f"{path} cannot be read: {error.strerror}.", "Give files, or a folder of them."
            ) from error
        if len(data) > MAX_SHEET_BYTES:
            raise BadAnswer(f"{path} is too large to be an answer.", "Remove it from the answers.")
        try:
            return cls.model_validate_json(decoded(data))
        except (UnicodeDecodeError, ValidationError) as error:
            raise BadAnswer(
                f"{path} is not the answer of a member.",
                f"`flo federation answer` writes it, as {ANSWER_FILE}. Remove other files.",
            ) from error

    def to_text(self) -> str:
        """The answer as one line of JSON."""
        return to_json(self.model_dump(), separators=(",", ":"))

    def digest(self, terms: AgreedTerms) -> bytes:
        """What the account has signed, if it has agreed to these terms: 32 bytes."""
        struct = keccak256(
            keccak256(_ANSWER_TYPE)
            + keccak256(self.name.encode())
            + keccak256(self.role.encode())
            + address(self.account)
            + bytes32(terms.manifest_digest)
            + bytes32(terms.genesis_root)
        )
        return typed_digest(terms.chain_id, terms.federation, struct)

    def check(self, terms: AgreedTerms, path: Path) -> None:
        """Check that the account has signed this answer to these terms. Raises BadAnswer."""
        if (self.chain_id, self.federation) != (terms.chain_id, terms.federation):
            raise BadAnswer(
                f"{path} answers for the federation {self.federation} on chain {self.chain_id}, "
                f"not for {terms.federation} on chain {terms.chain_id}.",
                f"{self.name} needs the kit of this federation.",
            )
        signature = Signature(bytes.fromhex(self.r[2:]), bytes.fromhex(self.vs[2:]))
        if recover(self.digest(terms), signature) != self.account:
            raise BadAnswer(
                f"{path} was not signed by {self.account} as {self.role} {self.name} of this "
                "federation, with its manifest digest and genesis root.",
                f"Ask {self.name} for a new answer, and compare the terms in words.",
            )
