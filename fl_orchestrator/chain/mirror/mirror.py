"""The typed view of one ``ModelMirror`` contract: docs/mirror.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import checksummed, from_abi, to_abi, values_of
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.disputes import Disputes, typed
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import Answered, Demanded
from fl_orchestrator.chain.mirror.types import (
    Epoch,
    FraudRecorded,
    Mirrored,
    MirroredModel,
    MirroredResult,
    MirroredUpdate,
    MirrorEvents,
    MirrorParams,
    Seat,
    seats_hash,
)
from fl_orchestrator.chain.types import Params, Signature
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.digests import Result, result_digest

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.nodes.node import Node
    from fl_orchestrator.chain.signing.keys import Signer

_RESULTS: Final = ("ResultMirrored", "EquivocationRecorded")
_OF_PROCESSES: Final = (*_RESULTS, "Demanded", "Answered", "FraudRecorded", "SeatsChanged")
_SEAT_CHANGE_TYPES: Final = {
    "SeatChange": [
        {"name": "nonce", "type": "uint256"},
        {"name": "fromRound", "type": "uint64"},
        {"name": "seats", "type": "bytes32[]"},
    ]
}


class NoMirror(ChainError):
    """The contract at the address is no mirror of this version, or uses other libraries."""


class ModelMirror(Disputes):
    """Reads a mirror, and builds calls to it. What `Disputes` calls a round is a submission here.

    ``libraries`` has the address of each library it is linked to.
    """

    ARTIFACT: Final = "ModelMirror"

    _params: Params | None = None
    _own: MirrorParams | None = None

    def __init__(self, chain: Node | Web3, address: str) -> None:
        artifact = load_artifact(self.ARTIFACT)
        super().__init__(chain, address, artifact)
        code = self.node.code(self.address)
        if not artifact.runs_as(code):
            raise NoMirror(
                f"There is no mirror of this version at {self.address} on chain {self.chain_id}.",
                "Check the address and the RPC endpoint.",
            )
        self.libraries = artifact.libraries_of(code)
        for name, place in self.libraries.items():
            self._require_library(name, place)

    def _require_library(self, name: str, place: bytes) -> None:
        """Raise NoMirror unless the library, which decides disputes, is this version's."""
        library, address = load_artifact(name), checksummed("0x" + place.hex())
        code = self.node.code(address)
        links_only_itself = library.libraries_of(code).items() <= {name: place}.items()
        if not library.runs_as(code) or not links_only_itself:
            raise NoMirror(
                f"The mirror at {self.address} is linked to another {name} than its version's, at "
                f"{address}: it could decide disputes wrongly.",
                "Do not use it.",
            )

    # ------------------------------------------------------------------ state

    def params(self) -> Params:
        """The federation's parameters, with the mirror's own periods and bond in their place."""
        if self._params is None:
            self._params = self._read_as(Params, "params")
        return self._params

    def mirror_params(self) -> MirrorParams:
        if self._own is None:
            self._own = self._read_as(MirrorParams, "mirrorParams")
        return self._own

    def constructor_arguments(self, seats: Sequence[Seat]) -> list[Any]:
        """What it was deployed with, as the ABI has it."""
        return [to_abi(self.mirror_params()), to_abi(self.params()), [s.word for s in seats]]

    def head(self) -> MirroredModel:
        return self._read_as(MirroredModel, "head")

    def model(self, height: int) -> MirroredModel:
        """The model at a height; height 0 is the one that it started from."""
        return self._read_as(MirroredModel, "model", height)

    def final_height(self) -> int:
        return int(self._read("finalHeight"))

    def round_of(self, round_number: int) -> Mirrored:
        """What it knows of a round of the federation."""
        return self._read_as(Mirrored, "roundOf", round_number)

    def credit_of(self, account: str) -> int:
        """What an account may withdraw, in wei."""
        return int(self._read("creditOf", account))

    def seat_nonce(self) -> int:
        return int(self._read("seatNonce"))

    def digest_of(self, result: Result) -> bytes:
        """The digest of a result, which aggregators sign at home."""
        own = self.mirror_params()
        return result_digest(own.home_chain_id, own.home, result)

    # ------------------------------------------------------------------ seats

    def seats_hash_for(self, round_number: int) -> bytes:
        """The hash of the seats whose stake counts for a round."""
        return self._read_as(Epoch, "seatsFor", round_number).seats_hash

    def seats_for(self, round_number: int, from_block: int = 0) -> list[Seat]:
        """The seats whose stake counts for a round, in the contract's order.

        They are in the events from a block on. Raises UntrueEvents if they are not.
        """
        changes = self._events_by_name(["SeatsChanged"], from_block, None, None)["SeatsChanged"]
        return found_seats(dict(changes), self.seats_hash_for(round_number))

    def last_seats(self, from_block: int = 0) -> list[Seat]:
        """The seats that the next change must be signed by."""
        return self.seats_for((1 << 64) - 1, from_block)

    def sign_seats(self, signer: Signer, from_round: int, seats: Sequence[Seat]) -> Signature:
        """Sign the next change of seats: as one of the last ones."""
        domain = {
            "name": "ModelMirror",
            "version": "1",
            "chainId": self.chain_id,
            "verifyingContract": self.address,
        }
        message = {
            "nonce": self.seat_nonce(),
            "fromRound": from_round,
            "seats": [seat.word for seat in seats],
        }
        return signer.sign_typed_data(domain, _SEAT_CHANGE_TYPES, message)

    def seats_digest(self, from_round: int, seats: Sequence[Seat]) -> bytes:
        """The digest that `sign_seats` signs."""
        return bytes(self._read("seatChangeDigest", from_round, [seat.word for seat in seats]))

    # ------------------------------------------------------------------ events

    def mirror_events(self, first: int, last: int) -> MirrorEvents:
        """The events of a range of blocks that processes need, by one request."""
        found = self._events_by_name(_OF_PROCESSES, first, last, None)
        return MirrorEvents(
            [result for name in _RESULTS for result in found[name]],
            found["Demanded"],
            found["Answered"],
            found["FraudRecorded"],
            dict(found["SeatsChanged"]),
        )

    def _builders(self) -> dict[str, Callable[[Any], Any]]:
        return {
            **dict.fromkeys(_RESULTS, self._mirrored),
            **{cls.__name__: partial(typed, cls) for cls in (Demanded, Answered, FraudRecorded)},
            "SeatsChanged": _seats,
        }

    def _mirrored(self, log: Any) -> MirroredResult:
        args = log["args"]
        result = from_abi(Result, values_of(args["result"]))
        if bytes(args["digest"]) != self.digest_of(result):
            raise UntrueEvents(f"a mirrored result of round {result.round} has another digest")
        return MirroredResult(
            args.get("submission", 0),
            bytes(args["digest"]),
            result,
            tuple(MirroredUpdate(*values_of(update)) for update in args["updates"]),
            args["signers"],
            tuple(Signature(*values_of(signature)) for signature in args["signatures"]),
            log["blockNumber"],
        )

    # ------------------------------------------------------------------ calls

    def submit(
        self,
        result: Result,
        updates: Sequence[tuple[int, bytes]],
        seats: Sequence[Seat],
        signed: dict[int, Signature],
    ) -> Call:
        """``updates`` are all counted reveals; ``signed`` has the signatures by their seat."""
        quorum = _quorum(seats, signed)
        return self._call("submit", to_abi(result), list(updates), *quorum)

    def decide(
        self,
        chosen: Result,
        updates: Sequence[tuple[int, bytes]],
        later: Result,
        seats: Sequence[Seat],
        signed: dict[int, Signature],
    ) -> Call:
        """``signed`` are signatures of the later result, by its round's seats."""
        quorum = _quorum(seats, signed)
        return self._call("decide", to_abi(chosen), list(updates), to_abi(later), *quorum)

    def change_seats(
        self,
        from_round: int,
        new_seats: Sequence[Seat],
        seats: Sequence[Seat],
        signed: dict[int, Signature],
    ) -> Call:
        """``seats`` are the last ones, which have signed it."""
        words = [seat.word for seat in new_seats]
        return self._call("changeSeats", from_round, words, *_quorum(seats, signed))

    def finalize(self) -> Call:
        return self._call("finalize")

    def withdraw_credit(self, account: str) -> Call:
        """Pays what is credited to an account, to it."""
        return self._call("withdrawCredit", account)


def found_seats(by_hash: Mapping[bytes, list[Seat]], wanted: bytes) -> list[Seat]:
    """The seats with a hash, among those that events tell. Raises UntrueEvents."""
    if wanted not in by_hash:
        raise UntrueEvents("the seats of the mirror are missing")
    return by_hash[wanted]


def _seats(log: Any) -> tuple[bytes, list[Seat]]:
    seats = [Seat.of(bytes(word)) for word in log["args"]["seats"]]
    return seats_hash(seats), seats


def _quorum(seats: Sequence[Seat], signed: dict[int, Signature]) -> tuple[list[bytes], int, Any]:
    """The arguments that stand for a quorum: all seats, a bitmap, and the signatures."""
    places = sorted(signed)
    bitmap = sum(1 << place for place in places)
    return [seat.word for seat in seats], bitmap, to_abi([signed[place] for place in places])
