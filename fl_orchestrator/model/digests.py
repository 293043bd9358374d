"""The hashes and the draw, computed exactly as the contracts compute them.

Every hash is ``keccak256(abi.encode(...))`` of static types: each value is one 32-byte word.
Source: docs/protocol.md, sections 4, 5.2, 5.3 and 10; EIP-712.
"""

from dataclasses import dataclass
from typing import Final

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.chunk_tree import keccak256

ZERO_HASH: Final = bytes(32)

_CID_TYPE: Final = b"Cid(bytes32 digest,uint8 codec)"
_RESULT_TYPE: Final = (
    b"Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,"
    b"bytes32 globalRoot,Cid globalCid)" + _CID_TYPE
)
_COMMIT_TYPE: Final = b"Commit(uint64 round,address party,bytes32 commitment)"
_DOMAIN_TYPE: Final = (
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


@dataclass(frozen=True, slots=True)
class Result:
    """What an aggregator signs: the ``Result`` of docs/protocol.md, section 5.4."""

    round: int
    updates_hash: bytes
    base_root: bytes
    included: int
    global_root: bytes
    global_cid: Cid


def commitment(
    *,
    chain_id: int,
    federation: str,
    round_number: int,
    party: str,
    root: bytes,
    cid: Cid,
    weight: int,
    salt: bytes,
) -> bytes:
    """Return the commitment to an update, 32 bytes (section 5.3)."""
    return keccak256(
        _uint(chain_id, 256)
        + _address(federation)
        + _uint(round_number, 64)
        + _address(party)
        + _bytes32(root)
        + _cid(cid)
        + _uint(weight, 8)
        + _bytes32(salt)
    )


def updates_hash(previous: bytes, party: str, weight: int, root: bytes) -> bytes:
    """Return the rolling hash after one more revealed update; it starts from ZERO_HASH."""
    word = _address(party)[12:] + _checked(weight, 96).to_bytes(12, "big")
    return keccak256(_bytes32(previous) + word + _bytes32(root))


def round_seed(previous: bytes, block_hash: bytes, round_number: int) -> bytes:
    """Return a round's seed (section 5.2); the seed before round 1 is ZERO_HASH."""
    return keccak256(_bytes32(previous) + _bytes32(block_hash) + _uint(round_number, 64))


def drawn(seed: bytes, party: str, stake: int, total_stake: int, participants: int) -> bool:
    """Whether a sampled round draws a party. Both stakes are the frozen ones, in wei.

    In a consortium (maxParties <= participants) everyone is drawn; the caller must check that.
    """
    ticket = int.from_bytes(keccak256(_bytes32(seed) + _address(party)), "big") >> 128
    return ticket * total_stake < (participants * stake) << 128


def domain_separator(chain_id: int, federation: str) -> bytes:
    """Return the EIP-712 domain separator of a federation."""
    return keccak256(
        keccak256(_DOMAIN_TYPE)
        + keccak256(b"Federation")
        + keccak256(b"1")
        + _uint(chain_id, 256)
        + _address(federation)
    )


def result_struct_hash(result: Result) -> bytes:
    """Return EIP-712's hashStruct of a Result, which identifies it within a federation."""
    cid_hash = keccak256(keccak256(_CID_TYPE) + _cid(result.global_cid))
    return keccak256(
        keccak256(_RESULT_TYPE)
        + _uint(result.round, 64)
        + _bytes32(result.updates_hash)
        + _bytes32(result.base_root)
        + _uint(result.included, 128)
        + _bytes32(result.global_root)
        + cid_hash
    )


def result_digest(chain_id: int, federation: str, result: Result) -> bytes:
    """Return the EIP-712 digest that an aggregator signs."""
    return _typed(chain_id, federation, result_struct_hash(result))


def commit_digest(
    chain_id: int, federation: str, round_number: int, party: str, commitment: bytes
) -> bytes:
    """Return the EIP-712 digest that a party signs for a keeper to relay its commitment."""
    struct_hash = keccak256(
        keccak256(_COMMIT_TYPE) + _uint(round_number, 64) + _address(party) + _bytes32(commitment)
    )
    return _typed(chain_id, federation, struct_hash)


def challenge_hash(
    challenger: str, round_number: int, digest: bytes, coordinate: int, salt: bytes
) -> bytes:
    """Return the hash that registers a challenge of the result with this digest (section 6)."""
    return keccak256(
        _address(challenger)
        + _uint(round_number, 64)
        + _bytes32(digest)
        + _uint(coordinate, 256)
        + _bytes32(salt)
    )


def _typed(chain_id: int, federation: str, struct_hash: bytes) -> bytes:
    return keccak256(b"\x19\x01" + domain_separator(chain_id, federation) + struct_hash)


def _checked(value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{value} is not a uint{bits}")
    return value


def _uint(value: int, bits: int) -> bytes:
    return _checked(value, bits).to_bytes(32, "big")


def _bytes32(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError(f"expected 32 bytes, not {len(value)}")
    return value


def _address(value: str) -> bytes:
    return _uint(int(value, 16), 160)


def _cid(cid: Cid) -> bytes:
    return _bytes32(cid.digest) + _uint(cid.codec, 8)
