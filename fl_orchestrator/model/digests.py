"""The hashes and the draw, computed exactly as the contracts compute them.

Every hash is ``keccak256(abi.encode(...))`` of static types: each value is one 32-byte word.
Source: docs/protocol.md, sections 4, 5.2, 5.3 and 10; EIP-712.
"""

from dataclasses import dataclass
from typing import Final

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.words import (
    CID_TYPE,
    address,
    bytes32,
    checked,
    cid_struct_hash,
    cid_words,
    typed_digest,
    uint,
)

ZERO_HASH: Final = bytes(32)

_RESULT_TYPE: Final = (
    b"Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,"
    b"bytes32 globalRoot,Cid globalCid)" + CID_TYPE
)
_COMMIT_TYPE: Final = b"Commit(uint64 round,address party,bytes32 commitment)"


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
        uint(chain_id, 256)
        + address(federation)
        + uint(round_number, 64)
        + address(party)
        + bytes32(root)
        + cid_words(cid)
        + uint(weight, 8)
        + bytes32(salt)
    )


def updates_hash(previous: bytes, party: str, weight: int, root: bytes) -> bytes:
    """Return the rolling hash after one more revealed update; it starts from ZERO_HASH."""
    word = address(party)[12:] + checked(weight, 96).to_bytes(12, "big")
    return keccak256(bytes32(previous) + word + bytes32(root))


def round_seed(previous: bytes, block_hash: bytes, round_number: int) -> bytes:
    """Return a round's seed (section 5.2); the seed before round 1 is ZERO_HASH."""
    return keccak256(bytes32(previous) + bytes32(block_hash) + uint(round_number, 64))


def drawn(seed: bytes, party: str, stake: int, total_stake: int, participants: int) -> bool:
    """Whether a sampled round draws a party. Both stakes are the frozen ones, in wei.

    In a consortium (maxParties <= participants) everyone is drawn; the caller must check that.
    """
    ticket = int.from_bytes(keccak256(bytes32(seed) + address(party)), "big") >> 128
    return ticket * total_stake < (participants * stake) << 128


def result_struct_hash(result: Result) -> bytes:
    """Return EIP-712's hashStruct of a Result, which identifies it within a federation."""
    return keccak256(
        keccak256(_RESULT_TYPE)
        + uint(result.round, 64)
        + bytes32(result.updates_hash)
        + bytes32(result.base_root)
        + uint(result.included, 128)
        + bytes32(result.global_root)
        + cid_struct_hash(result.global_cid)
    )


def result_digest(chain_id: int, federation: str, result: Result) -> bytes:
    """Return the EIP-712 digest that an aggregator signs."""
    return typed_digest(chain_id, federation, result_struct_hash(result))


def commit_digest(
    chain_id: int, federation: str, round_number: int, party: str, commitment: bytes
) -> bytes:
    """Return the EIP-712 digest that a party signs for a keeper to relay its commitment."""
    struct_hash = keccak256(
        keccak256(_COMMIT_TYPE) + uint(round_number, 64) + address(party) + bytes32(commitment)
    )
    return typed_digest(chain_id, federation, struct_hash)


def challenge_hash(
    challenger: str, round_number: int, digest: bytes, coordinate: int, salt: bytes
) -> bytes:
    """Return the hash that registers a challenge of the result with this digest (section 6)."""
    return keccak256(
        address(challenger)
        + uint(round_number, 64)
        + bytes32(digest)
        + uint(coordinate, 256)
        + bytes32(salt)
    )
