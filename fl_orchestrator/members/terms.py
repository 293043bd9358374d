"""What the members of a federation compare before they stake anything, also in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fl_orchestrator.model.words import hash_words

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation


@dataclass(frozen=True, slots=True)
class AgreedTerms:
    """Which federation this is: its chain and address, its manifest and its first model.

    ``manifest_digest`` and ``genesis_root`` have 32 bytes.
    """

    chain_id: int
    federation: str
    manifest_digest: bytes
    genesis_root: bytes

    @classmethod
    def of(cls, federation: Federation) -> Self:
        """The terms as the chain has them."""
        params = federation.params()
        return cls(
            federation.chain_id, federation.address, params.manifest_digest, params.genesis_root
        )

    @property
    def fingerprint(self) -> bytes:
        """keccak256(abi.encode(chainId, federation, manifestDigest, genesisRoot)), 32 bytes."""
        return hash_words(
            self.chain_id, int(self.federation, 16), self.manifest_digest, self.genesis_root
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Each of the terms with its name, its number and its words; the fingerprint is the last.

        The chain id has no words.
        """
        address = bytes.fromhex(self.federation[2:])
        named = {
            "federation": (self.federation, address),
            "manifest digest": ("0x" + self.manifest_digest.hex(), self.manifest_digest),
            "genesis root": ("0x" + self.genesis_root.hex(), self.genesis_root),
            "all of these": ("0x" + self.fingerprint.hex(), self.fingerprint),
        }
        rows = [(name, number, in_words(data)) for name, (number, data) in named.items()]
        return [("chain id", str(self.chain_id), ""), *rows]


def in_words(data: bytes) -> str:
    """English words for reading aloud: 24 for 32 bytes, 15 for 20 (an address).

    They are BIP-39's words: each stands for 11 bits, and the last one also has a checksum. Here
    they encode public numbers; they are nobody's wallet.
    """
    from eth_account.hdaccount.mnemonic import Mnemonic
    from eth_account.types import Language

    return str(Mnemonic(Language.ENGLISH).to_mnemonic(data))
