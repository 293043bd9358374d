"""The typed view of one ``Federation`` contract: its state, its events, and calls to send to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from fl_orchestrator.artifacts import Release
from fl_orchestrator.chain.abi import (
    COMMIT_TYPES,
    RESULT_TYPES,
    checksummed,
    from_abi,
    from_earlier_abi,
    to_abi,
    values_of,
)
from fl_orchestrator.chain.contract.code.found import NoContractYet, NoFederation, found_at
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.disputes import Disputes, typed
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.lookout import Lookout
from fl_orchestrator.chain.event_types import (
    Answered,
    Committed,
    Demanded,
    DuplicateUpdate,
    FraudProven,
    RevealedUpdate,
    RoundAccepted,
    RoundEvents,
    RoundHistory,
    RoundOpened,
    RoundRevoked,
    common_events,
    counted,
)
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.types import (
    ABSENT_PARAMS,
    Attestation,
    ModelView,
    Observation,
    Params,
    Role,
    Signature,
    SignedCommit,
    Update,
)
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result, result_digest
from fl_orchestrator.model.protocol import MAX_UPDATES, MAX_WEIGHT

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.signing.keys import Signer

__all__ = [
    "NO_COMMITMENT",
    "Attestation",
    "Call",
    "Federation",
    "NoContractYet",
    "NoFederation",
]

#: What a party that is marked absent commits to in order to be waited for again.
NO_COMMITMENT: Final = bytes(32)
# What the signature that completes a quorum costs beyond the others, rounded up.
_ACCEPTANCE_GAS: Final = 100_000

_OF_RESULTS: Final = ("ResultProposed", "UpdateRevealed", "RoundAccepted", "Demanded", "Answered")
#: The names of the events that every federation's rounds have.
OF_ROUNDS: Final = (*_OF_RESULTS, "FraudProven", "RoundRevoked")
#: Those of reports for people.
OF_REPORTS: Final = (*_OF_RESULTS, "FraudProven", "RoundOpened", "Committed", "Attested")
_AS_THEY_ARE: Final = (
    *(Answered, Committed, DuplicateUpdate, FraudProven),
    *(RoundAccepted, RoundOpened, RoundRevoked),
)


class Federation(Disputes):
    """Reads one federation, signs for it, and builds calls to it. It sends nothing by itself.

    With ``release`` it is one of that earlier release: to read, and to withdraw from.
    ``libraries`` has the address of each library it is linked to. ``last_seen`` is what `observe`
    returned last; the loop that runs a role takes the chain's time from it.
    """

    #: The compiled contract whose code must be at the address.
    ARTIFACT: ClassVar[str] = "Federation"
    #: The names of the events for reports that only this kind of federation has.
    REPORTED: ClassVar[tuple[str, ...]] = ("DuplicateUpdate",)

    last_seen: Observation | None = None
    _params: Params | None = None
    _lookout: Lookout | None = None

    def __init__(self, chain: Node | Web3, address: str, release: Release | None = None) -> None:
        node = Node.of(chain)
        found = found_at(node, checksummed(address), self.ARTIFACT, release)
        super().__init__(node, address, found.runtime, found.reverts)
        self.libraries = found.libraries
        #: The version of its contracts.
        self.version = found.version
        self._release = release

    # ------------------------------------------------------------------ state

    def observe(self, account: str) -> Observation:
        """Everything that a role of this account needs to decide, at the latest block."""
        look = self.read_observation if self._lookout is None else self._lookout.observe
        self.last_seen = look(account)
        return self.last_seen

    def share(self, since: int | None = None) -> None:
        """From now on `observe` looks at the chain once for many accounts: see `Lookout`."""
        self._lookout = Lookout(self, since)

    def read_observation(self, account: str) -> Observation:
        """What `observe` returns, read from the contract whatever is known already."""
        return self._read_as(Observation, "observe", account)

    def params(self) -> Params:
        """The parameters. They never change, so they are read once and cached."""
        if self._params is None:
            self._params = self._read_params()
        return self._params

    def _read_params(self) -> Params:
        if self._release is None:
            return self._read_as(Params, "params")
        # Later versions have more parameters.
        names = self._names_in_answer("params")
        return from_earlier_abi(Params, names, self._read("params"), ABSENT_PARAMS)

    def constructor_arguments(self) -> list[Any]:
        """What it was deployed with, as the ABI has it."""
        return [to_abi(self.params())]

    def head(self) -> ModelView:
        return self._read_as(ModelView, "head")

    def model(self, height: int) -> ModelView:
        """The accepted model at a height; height 0 is genesis."""
        return self._read_as(ModelView, "model", height)

    def attestation(self, digest: bytes) -> Attestation:
        """Who signed the result with this digest."""
        return Attestation(*self._read("attestation", digest))

    def digest_of(self, result: Any) -> bytes:
        """The EIP-712 digest of a result, which aggregators sign and which names it on-chain."""
        return result_digest(self.chain_id, self.address, result)

    def distributed(self, height: int) -> bool:
        return bool(self._read("distributed", height))

    # ------------------------------------------------------------------ events

    # Each method takes a first and a last block (None: the latest), and a round (None: all).

    def revealed_updates(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[RevealedUpdate]:
        """The counted reveals, in their order."""
        return self._events("UpdateRevealed", first, last, round_number, _revealed)

    def proposed_results(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> dict[bytes, Result]:
        """Every result with a valid signature, by its digest."""
        return dict(self._events("ResultProposed", first, last, round_number, self._proposed))

    def accepted_digests(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> dict[int, bytes]:
        """The digest of the accepted result by its round, revoked rounds included."""
        return dict(self._events("RoundAccepted", first, last, round_number, _accepted))

    def registered(self, role: Role, first: int, last: int | None = None) -> list[str]:
        """The accounts that registered in a role, in their order; they may have left."""
        found = self._events("Registered", first, last, None, lambda log: log["args"])
        return [args["account"] for args in found if args["role"] == role]

    def signers(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> dict[bytes, list[str]]:
        """The aggregators that signed each result, by its digest."""
        signers: dict[bytes, list[str]] = {}
        found = self._events("Attested", first, last, round_number, _attested)
        for digest, aggregator in found:
            signers.setdefault(digest, []).append(aggregator)
        return signers

    def round_events(self, first: int, last: int) -> RoundEvents:
        """The events of a range of blocks that roles need, by one request."""
        return RoundEvents(**common_events(self._events_by_name(OF_ROUNDS, first, last, None)))

    def history(self, first: int, round_number: int | None = None) -> RoundHistory:
        """The events from a block on that reports for people need, by one request."""
        found = self._events_by_name((*OF_REPORTS, *self.REPORTED), first, None, round_number)
        signers: dict[bytes, list[str]] = {}
        for digest, aggregator in found["Attested"]:
            signers.setdefault(digest, []).append(aggregator)
        return RoundHistory(
            opened=found["RoundOpened"],
            commits=found["Committed"],
            updates=found["UpdateRevealed"],
            duplicates=found.get("DuplicateUpdate", []),
            results=dict(found["ResultProposed"]),
            signers=signers,
            accepted=found["RoundAccepted"],
            demands=found["Demanded"],
            answers=found["Answered"],
            frauds=found["FraudProven"],
            claims=found.get("Claimed", []),
            locks=dict(found.get("Locked", [])),
        )

    def _builders(self) -> dict[str, Callable[[Any], Any]]:
        """What converts each event, by its name."""
        return {
            "ResultProposed": self._proposed,
            "UpdateRevealed": _revealed,
            "Attested": _attested,
            "Demanded": self._demanded,
            **{cls.__name__: partial(typed, cls) for cls in _AS_THEY_ARE},
        }

    def _proposed(self, log: Any) -> tuple[bytes, Any]:
        args = log["args"]
        digest, result = bytes(args["digest"]), from_abi(Result, values_of(args["result"]))
        whole = result.included and result.round == args["round"]
        if not whole or digest != result_digest(self.chain_id, self.address, result):
            raise UntrueEvents(f"a result of round {args['round']} does not have its digest")
        return digest, result

    def _demanded(self, log: Any) -> Demanded:
        demand = typed(Demanded, log)
        depth = self.params().state_depth
        if demand.level > depth or demand.index >= 1 << depth - demand.level:
            raise UntrueEvents(f"demand {demand.id} is for a node outside of the tree")
        return demand

    # ------------------------------------------------------------------ signatures

    @property
    def domain(self) -> dict[str, Any]:
        """The EIP-712 domain."""
        return {
            "name": "Federation",
            "version": "1",
            "chainId": self.chain_id,
            "verifyingContract": self.address,
        }

    def sign_result(self, signer: Signer, result: Result) -> Signature:
        message = {
            "round": result.round,
            "updatesHash": result.updates_hash,
            "baseRoot": result.base_root,
            "included": result.included,
            "globalRoot": result.global_root,
            "globalCid": {"digest": result.global_cid.digest, "codec": result.global_cid.codec},
        }
        return signer.sign_typed_data(self.domain, RESULT_TYPES, message)

    def sign_commit(self, signer: Signer, round_number: int, commitment: bytes) -> SignedCommit:
        message = {"round": round_number, "party": signer.address, "commitment": commitment}
        signature = signer.sign_typed_data(self.domain, COMMIT_TYPES, message)
        return SignedCommit(signer.address, commitment, signature.r, signature.vs)

    def owner(self) -> str:
        return checksummed(self._read("owner"))

    def pending_owner(self) -> str | None:
        """The account that was offered the federation and has not accepted, if there is one."""
        account = self._read("pendingOwner")
        return checksummed(account) if int(account, 16) else None

    # ------------------------------------------------------------------ calls

    def transfer_ownership(self, account: str) -> Call:
        """Offers the federation to an account, which becomes the owner when it accepts."""
        return self._call("transferOwnership", account)

    def accept_ownership(self) -> Call:
        return self._call("acceptOwnership")

    def admit(self, accounts: Sequence[str], role: Role) -> Call:
        return self._call("admit", list(accounts), int(role))

    def remove(self, account: str, role: Role) -> Call:
        """End an admission; a registered stake begins to unbond."""
        return self._call("remove", account, int(role))

    def register(self, role: Role, beneficiary: str, stake: int) -> Call:
        return self._call("register", int(role), beneficiary, value=stake)

    def deposit(self, amount: int) -> Call:
        return self._call("deposit", value=amount)

    def request_unbond(self, account: str, role: Role) -> Call:
        return self._call("requestUnbond", account, int(role))

    def withdraw(self, account: str, role: Role) -> Call:
        return self._call("withdraw", account, int(role))

    def withdraw_rewards(self, account: str) -> Call:
        return self._call("withdrawRewards", account)

    def slash_unrevealed(self, party: str) -> Call:
        return self._call("slashUnrevealed", party)

    def open_round(self) -> Call:
        return self._call("openRound")

    def commit(self, round_number: int, commitment: bytes) -> Call:
        return self._call("commit", round_number, commitment)

    def come_back(self, round_number: int) -> Call:
        """The wish of a party that is marked absent to be waited for again."""
        return self.commit(round_number, NO_COMMITMENT)

    def mark_absent(self, party: str) -> Call:
        """Wait no longer for the commits of a party whose observation says ``missing``."""
        return self._call("markAbsent", party)

    def commit_for(self, commits: Sequence[SignedCommit]) -> Call:
        return self._call("commitFor", to_abi(list(commits)))

    def reveal(self, updates: Sequence[Update]) -> Call:
        return self._call("reveal", to_abi(list(updates)))

    def attest(self, result: Result, signatures: Sequence[Signature]) -> Call:
        arguments = (to_abi(result), to_abi(list(signatures)))
        return self._call("attest", *arguments, more_gas=_ACCEPTANCE_GAS)

    def finalize(self) -> Call:
        return self._call("finalize")

    def fund_rewards(self, amount: int) -> Call:
        return self._call("fundRewards", value=amount)

    def distribute(self, result: Result, updates: Sequence[RevealedUpdate]) -> Call:
        return self._call("distribute", to_abi(result), counted(updates))


def _revealed(log: Any) -> RevealedUpdate:
    args = log["args"]
    if args["index"] >= MAX_UPDATES or not 1 <= args["weight"] <= MAX_WEIGHT:
        raise UntrueEvents(f"an update of round {args['round']} has no such index or weight")
    return RevealedUpdate(
        args["round"],
        args["party"],
        args["index"],
        args["weight"],
        args["root"],
        from_abi(Cid, values_of(args["cid"])),
    )


def _attested(log: Any) -> tuple[bytes, str]:
    return bytes(log["args"]["digest"]), log["args"]["aggregator"]


def _accepted(log: Any) -> tuple[int, bytes]:
    return log["args"]["round"], bytes(log["args"]["digest"])
