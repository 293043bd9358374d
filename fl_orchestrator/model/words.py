"""The encoding under every hash: words of 32 bytes, and the frame of EIP-712.

All values here are of static types, so ``abi.encode`` is the concatenation of their words. Every
function raises ValueError for a value that its type cannot hold.
"""

from typing import Final

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.keccak import keccak256

WORD_BYTES: Final = 32
CID_TYPE: Final = b"Cid(bytes32 digest,uint8 codec)"
_DOMAIN_TYPE: Final = (
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


def checked(value: int, bits: int) -> int:
    """Return the value if it is a uint of this many bits."""
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{value} is not a uint{bits}")
    return value


def uint(value: int, bits: int) -> bytes:
    """Return the word of an unsigned integer."""
    return checked(value, bits).to_bytes(WORD_BYTES, "big")


def bytes32(value: bytes) -> bytes:
    """Return the word of 32 bytes."""
    if len(value) != WORD_BYTES:
        raise ValueError(f"expected {WORD_BYTES} bytes, not {len(value)}")
    return value


def address(value: str) -> bytes:
    """Return the word of an address, given as 0x-hex."""
    return uint(int(value, 16), 160)


def cid_words(cid: Cid) -> bytes:
    """Return the two words of a Cid."""
    return bytes32(cid.digest) + uint(cid.codec, 8)


def cid_struct_hash(cid: Cid) -> bytes:
    """Return EIP-712's hashStruct of a Cid."""
    return keccak256(keccak256(CID_TYPE) + cid_words(cid))


def hash_words(*words: bytes | int) -> bytes:
    """Return keccak256 of the words; an integer is a uint256, bytes are a bytes32."""
    return keccak256(b"".join(uint(w, 256) if isinstance(w, int) else bytes32(w) for w in words))


def domain_separator(chain_id: int, federation: str) -> bytes:
    """Return the EIP-712 domain separator of a federation."""
    return keccak256(
        keccak256(_DOMAIN_TYPE)
        + keccak256(b"Federation")
        + keccak256(b"1")
        + uint(chain_id, 256)
        + address(federation)
    )


def typed_digest(chain_id: int, federation: str, struct_hash: bytes) -> bytes:
    """Return the EIP-712 digest of a struct, which an account signs for this federation."""
    return keccak256(b"\x19\x01" + domain_separator(chain_id, federation) + struct_hash)
