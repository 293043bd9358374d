"""The EIP-712 structs of private federations (docs/protocol.md, section 12), as digests.py.

A commit there names a mask key instead of a commitment, a reveal is signed, and a result names the
seeds that were opened.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.words import CID_TYPE, address, bytes32, cid_struct_hash, uint

_COMMIT_TYPE: Final = b"Commit(uint64 round,address party,uint8 weight,bytes32 maskKey)"
_REVEAL_TYPE: Final = (
    b"Reveal(uint64 round,address party,bytes32 commitsHash,bytes32 root,Cid cid)" + CID_TYPE
)
_HELD_TYPE: Final = b"Held(uint64 round,bytes32 commitsHash,bytes32 updatesHash,uint128 held)"
_CONFIRMED_TYPE: Final = b"Confirmed(uint64 round,bytes32 lock)"
_RELEASE_TYPE: Final = b"Release(uint64 round,bytes32 lock,Cid cid)" + CID_TYPE
_RESULT_TYPE: Final = (
    b"Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,"
    b"bytes32 seedsHash,bytes32 globalRoot,Cid globalCid)" + CID_TYPE
)


@dataclass(frozen=True, slots=True)
class PrivateCommit:
    """What a party signs for a keeper to relay its commit."""

    TYPE: ClassVar[bytes] = _COMMIT_TYPE

    round: int
    party: str
    weight: int
    mask_key: bytes

    def struct_hash(self) -> bytes:
        """Return EIP-712's hashStruct. Raises ValueError, as those below do."""
        words = address(self.party) + uint(self.weight, 8) + bytes32(self.mask_key)
        return _struct_hash(self.TYPE, self.round, words)


@dataclass(frozen=True, slots=True)
class PrivateReveal:
    """What a party signs for a keeper to relay its masked update."""

    TYPE: ClassVar[bytes] = _REVEAL_TYPE

    round: int
    party: str
    commits_hash: bytes
    root: bytes
    cid: Cid

    def struct_hash(self) -> bytes:
        """Return EIP-712's hashStruct."""
        words = address(self.party) + bytes32(self.commits_hash) + bytes32(self.root)
        return _struct_hash(self.TYPE, self.round, words + cid_struct_hash(self.cid))


@dataclass(frozen=True, slots=True)
class Held:
    """An aggregator's claim: the counted reveals that it holds, as a bit set of places."""

    TYPE: ClassVar[bytes] = _HELD_TYPE

    round: int
    commits_hash: bytes
    updates_hash: bytes
    held: int

    def struct_hash(self) -> bytes:
        """Return EIP-712's hashStruct."""
        words = bytes32(self.commits_hash) + bytes32(self.updates_hash) + uint(self.held, 128)
        return _struct_hash(self.TYPE, self.round, words)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """An aggregator's word that it saw this lock on its chain; one per round, ever."""

    TYPE: ClassVar[bytes] = _CONFIRMED_TYPE

    round: int
    lock: bytes

    def struct_hash(self) -> bytes:
        """Return EIP-712's hashStruct."""
        return _struct_hash(self.TYPE, self.round, bytes32(self.lock))


@dataclass(frozen=True, slots=True)
class Release:
    """Where an aggregator's release file for a lock is."""

    TYPE: ClassVar[bytes] = _RELEASE_TYPE

    round: int
    lock: bytes
    cid: Cid

    def struct_hash(self) -> bytes:
        """Return EIP-712's hashStruct."""
        words = bytes32(self.lock) + cid_struct_hash(self.cid)
        return _struct_hash(self.TYPE, self.round, words)


@dataclass(frozen=True, slots=True)
class PrivateResult:
    """What an aggregator signs at the end; ``included`` is a bit set of places."""

    TYPE: ClassVar[bytes] = _RESULT_TYPE

    round: int
    updates_hash: bytes
    base_root: bytes
    included: int
    seeds_hash: bytes
    global_root: bytes
    global_cid: Cid

    def struct_hash(self) -> bytes:
        """Return EIP-712's hashStruct, which identifies the result within its federation."""
        words = bytes32(self.updates_hash) + bytes32(self.base_root) + uint(self.included, 128)
        words += bytes32(self.seeds_hash) + bytes32(self.global_root)
        return _struct_hash(self.TYPE, self.round, words + cid_struct_hash(self.global_cid))


def private_result(common: Result, seeds_hash: bytes) -> PrivateResult:
    """The result of a private federation, from what all results have and the hash of its seeds."""
    return PrivateResult(
        common.round,
        common.updates_hash,
        common.base_root,
        common.included,
        seeds_hash,
        common.global_root,
        common.global_cid,
    )


def _struct_hash(kind: bytes, round_number: int, words: bytes) -> bytes:
    return keccak256(keccak256(kind) + uint(round_number, 64) + words)
