"""The typed view of a private federation (``IPrivateFederation.sol``; docs/protocol.md, 12)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

from fl_orchestrator.chain.abi import checksummed, from_abi, to_abi, values_of
from fl_orchestrator.chain.contract.code.found import kind_at
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.disputes import typed
from fl_orchestrator.chain.contract.federation import OF_ROUNDS, Federation
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import (
    Claimed,
    MaskedCommitted,
    MaskedReveal,
    PrivateRoundEvents,
    RevealedUpdate,
    SeatChange,
    common_events,
    counted,
)
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.types import (
    ClaimView,
    MaskedUpdate,
    Observation,
    PrivateObservation,
    PrivateParams,
    Role,
    Signature,
    SignedClaim,
    SignedMaskedCommit,
)
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.private_digests import PrivateResult, private_result
from fl_orchestrator.model.protocol import MAX_UPDATES, MAX_WEIGHT
from fl_orchestrator.model.words import typed_digest

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.signing.keys import Signer

#: What a party that is marked absent commits to in order to be waited for again.
NO_MASK_KEY: Final = bytes(32)
#: A challenge of the seed of this number is registered as one of this coordinate plus the number.
SEED_COORDINATES: Final = 1 << 255

_SEATS: Final = (
    "SeedBlockNamed",
    "Registered",
    "KeySet",
    "UnbondRequested",
    "Withdrawn",
    "Slashed",
)
_OF_AGGREGATORS: Final = ("Registered", "UnbondRequested", "Withdrawn", "Slashed")


class _Signed(Protocol):
    """A struct of ``model.private_digests``."""

    TYPE: ClassVar[bytes]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def struct_hash(self) -> bytes: ...


class PrivateFederation(Federation):
    """Reads one private federation, signs for it, and builds calls to it."""

    ARTIFACT = "PrivateFederation"
    REPORTED = ("Claimed", "Locked")

    _private: PrivateParams | None = None

    # ------------------------------------------------------------------ state

    def observe(self, account: str) -> PrivateObservation:
        return cast(PrivateObservation, super().observe(account))

    def read_observation(self, account: str) -> PrivateObservation:
        common, claims = self._read("observe", account)
        observed = from_abi(Observation, common)
        fields = {name: getattr(observed, name) for name in Observation.__slots__}
        return PrivateObservation(**fields, claims=from_abi(ClaimView, claims))

    def private_params(self) -> PrivateParams:
        """The parameters that only a private federation has, read once and cached."""
        if self._private is None:
            self._private = self._read_as(PrivateParams, "privateParams")
        return self._private

    def constructor_arguments(self) -> list[Any]:
        return [*super().constructor_arguments(), to_abi(self.private_params())]

    # ------------------------------------------------------------------ events

    def round_events(self, first: int, last: int) -> PrivateRoundEvents:
        """With what private rounds have in addition."""
        more = ("Committed", "RoundOpened", "Claimed", "Locked", "SeedsOpened", "Announced")
        found = self._events_by_name((*OF_ROUNDS, *more, *_SEATS), first, last, None)
        return PrivateRoundEvents(
            **common_events(found),
            commits=found["Committed"],
            locks=dict(found["Locked"]),
            seeds=dict(found["SeedsOpened"]),
            seats=[change for name in _SEATS for change in found[name] if change is not None],
            bases={event.round: event.base for event in found["RoundOpened"]},
            announced=found["Announced"],
            claims={claim.aggregator: claim.round for claim in found["Claimed"]},
        )

    def _builders(self) -> dict[str, Callable[[Any], Any]]:
        return {
            **super()._builders(),
            "Committed": partial(typed, MaskedCommitted),
            "Claimed": partial(typed, Claimed),
            "UpdateRevealed": _revealed,
            "Locked": lambda log: (log["args"]["round"], log["args"]["locked"]),
            "SeedsOpened": lambda log: (bytes(log["args"]["digest"]), log["args"]["seeds"]),
            "Announced": lambda log: bytes(log["args"]["message"]),
            **dict.fromkeys(_SEATS, _seat_change),
        }

    def announcements(self, first: int, last: int | None = None) -> list[bytes]:
        """What was announced in a range of blocks, by anybody."""
        return self._events("Announced", first, last, None, self._builders()["Announced"])

    def opened_seeds(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> dict[bytes, bytes]:
        """The opened seeds by the digest of their result."""
        build = self._builders()["SeedsOpened"]
        return dict(self._events("SeedsOpened", first, last, round_number, build))

    def revealed_updates(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[RevealedUpdate]:
        return self._events("UpdateRevealed", first, last, round_number, _revealed)

    def _proposed(self, log: Any) -> tuple[bytes, Any]:
        args = log["args"]
        digest, (common, seeds_hash) = bytes(args["digest"]), values_of(args["result"])
        result = private_result(from_abi(Result, common), seeds_hash)
        whole = result.included and result.round == args["round"]
        if not whole or digest != self.digest(result):
            raise UntrueEvents(f"a result of round {args['round']} does not have its digest")
        return digest, result

    # ------------------------------------------------------------------ signatures

    def digest_of(self, result: _Signed) -> bytes:
        return self.digest(result)

    def digest(self, message: _Signed) -> bytes:
        """The EIP-712 digest of one of the structs of ``model.private_digests``."""
        return typed_digest(self.chain_id, self.address, message.struct_hash())

    def sign(self, signer: Signer, message: _Signed) -> Signature:
        """Sign one of the structs of ``model.private_digests``."""
        types = _types_of(message.TYPE)
        primary = next(iter(types))
        fields = [getattr(message, field.name) for field in dataclasses.fields(message)]
        named = zip((field["name"] for field in types[primary]), fields, strict=True)
        values = {name: dataclasses.asdict(v) if isinstance(v, Cid) else v for name, v in named}
        return signer.sign_typed_data(self.domain, types, values)

    # ------------------------------------------------------------------ calls

    def register(self, role: Role, beneficiary: str, stake: int, key: bytes = bytes(32)) -> Call:
        """``key`` is an aggregator's encryption key; zero for a party."""
        return self._call("register", int(role), beneficiary, key, value=stake)

    def set_key(self, key: bytes) -> Call:
        """Change the caller's encryption key, from the next seed block on."""
        return self._call("setKey", key)

    def commit_masks(self, round_number: int, weight: int, mask_key: bytes) -> Call:
        return self._call("commit", round_number, weight, mask_key)

    def commit_masks_for(self, commits: Sequence[SignedMaskedCommit]) -> Call:
        return self._call("commitFor", to_abi(list(commits)))

    def come_back(self, round_number: int) -> Call:
        return self.commit_masks(round_number, 0, NO_MASK_KEY)

    def reveal_masked(self, commits_hash: bytes, updates: Sequence[MaskedUpdate]) -> Call:
        return self._call("reveal", commits_hash, to_abi(list(updates)))

    def claim(self, claims: Sequence[SignedClaim]) -> Call:
        return self._call("claim", to_abi(list(claims)))

    def announce(self, message: bytes) -> Call:
        """Publish a message that relays withhold."""
        return self._call("announce", message)

    def attest_private(
        self, result: PrivateResult, seeds: bytes, signatures: Sequence[Signature]
    ) -> Call:
        """``seeds`` are read with the first attestation of a result only."""
        return self._call("attest", _nested(result), seeds, to_abi(list(signatures)))

    def distribute(self, result: Any, updates: Sequence[RevealedUpdate]) -> Call:
        return self._call("distribute", _nested(result), counted(updates))

    def expire(self, demand_id: int, result: Any) -> Call:
        return self._call("expire", demand_id, _nested(result))

    def challenge_private(
        self,
        result: PrivateResult,
        updates: Sequence[RevealedUpdate],
        coordinate: int,
        seeds: bytes,
        proofs: bytes,
        salt: bytes,
    ) -> Call:
        """Challenge one coordinate of a result; see `challenge`."""
        given = (counted(updates), coordinate, seeds, proofs, salt)
        return self._call("challenge", _nested(result), *given)

    def challenge_seed(
        self,
        result: PrivateResult,
        updates: Sequence[RevealedUpdate],
        seeds: bytes,
        number: int,
        hashes: bytes,
        body_hash: bytes,
        values_root: bytes,
        salt: bytes,
    ) -> Call:
        """Challenge one opened seed, by the seal of the update that it is of."""
        given = (counted(updates), seeds, number, hashes, body_hash, values_root, salt)
        return self._call("challengeSeed", _nested(result), *given)


def open_federation(chain: Node | Web3, address: str, any_version: bool = False) -> Federation:
    """The federation at an address, private or not. Raises NoFederation.

    With ``any_version`` it may be of an earlier release: only to read, and to withdraw from it.
    """
    node = Node.of(chain)
    kind, release = kind_at(node, checksummed(address), any_version)
    private = kind == PrivateFederation.ARTIFACT
    return (PrivateFederation if private else Federation)(node, address, release)


def _revealed(log: Any) -> MaskedReveal:
    args = log["args"]
    in_range = args["place"] < MAX_UPDATES and args["index"] < MAX_UPDATES
    if not in_range or not 1 <= args["weight"] <= MAX_WEIGHT:
        raise UntrueEvents(f"an update of round {args['round']} has no such place or weight")
    return MaskedReveal(
        args["round"],
        args["party"],
        args["place"],
        args["weight"],
        args["root"],
        from_abi(Cid, values_of(args["cid"])),
        args["index"],
    )


def _seat_change(log: Any) -> SeatChange | None:
    name, values = log["event"], dict(log["args"])
    if name in _OF_AGGREGATORS and values["role"] != Role.AGGREGATOR:
        return None
    return SeatChange(log["blockNumber"], log["logIndex"], name, values)


def _nested(result: PrivateResult) -> Any:
    """The result as the ABI has it: what all results have, and the hash of the seeds."""
    common = Result(
        result.round,
        result.updates_hash,
        result.base_root,
        result.included,
        result.global_root,
        result.global_cid,
    )
    return to_abi(common), result.seeds_hash


def _types_of(type_string: bytes) -> dict[str, list[dict[str, str]]]:
    """The types of an EIP-712 type string, the primary one first."""
    found = {}
    for name, fields in re.findall(r"(\w+)\(([^)]*)\)", type_string.decode("ascii")):
        pairs = (field.split(" ") for field in fields.split(","))
        found[name] = [{"name": field, "type": kind} for kind, field in pairs]
    return found
