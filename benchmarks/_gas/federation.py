"""A federation that runs rounds without training, and the cost of each of its transactions."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from hexbytes import HexBytes
from rich.console import Console
from rich.progress import track
from web3 import Web3
from web3.types import TxReceipt

from _gas.floor import (
    FINALIZE,
    OPEN_FIRST,
    OPEN_SECOND,
    REGISTER,
    Cost,
    Work,
    attest_work,
    commit_work,
    deploy_work,
    distribute_work,
    least_gas,
    reveal_work,
)
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import migrate
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Params, PrivateParams, Role, Update
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.model.digests import Result, commitment, drawn
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.protocol import BPS
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.units import ETHER

PARTIES: Final = 10
AGGREGATORS: Final = 4
PERIOD: Final = 600
CHALLENGE_PERIOD: Final = 3600
# The limit of every transaction since Osaka (EIP-7825).
GAS_LIMIT: Final = 2**24
BALANCE: Final = 1_000 * ETHER
LONGEST_SECONDS: Final = 120.0
MAX_FEE: Final = 10**10
# From this many registrations on, a progress bar is shown.
MANY: Final = 500
PROGRESS: Final = Console(stderr=True)


@dataclass(slots=True)
class Round:
    """The costs of a round's transactions, and the arguments to distribute its rewards."""

    result: Any
    updates: list[Update]
    opening: list[Cost] = field(default_factory=list)
    commits: list[Cost] = field(default_factory=list)
    reveals: list[Cost] = field(default_factory=list)
    attest: Cost = field(default_factory=partial(Cost, 0, 0))

    @property
    def cost(self) -> Cost:
        return Cost.total([*self.opening, *self.commits, *self.reveals, self.attest])


def random_bytes(*name: object) -> bytes:
    """Return 32 pseudorandom bytes that are the same in every run."""
    return hashlib.sha256(repr(name).encode()).digest()


def signers(kind: str, count: int) -> list[LocalSigner]:
    return [LocalSigner.from_secret(random_bytes("key", kind, i)) for i in range(count)]


def parameters(parties: int, crowd: bool) -> Params:
    """Return the terms of a consortium of ``parties``, or of a crowd that draws ten of them."""
    return Params(
        min_party_stake=ETHER // 10,
        min_aggregator_stake=ETHER,
        max_parties=2**32 - 1 if crowd else parties,
        participants=PARTIES if crowd else parties,
        min_updates=1,
        # The ten expected parties of a draw, and four standard deviations more.
        max_updates=PARTIES + 13 if crowd else parties,
        open_admission=crowd,
        commit_period=PERIOD,
        reveal_period=PERIOD,
        attest_period=PERIOD,
        challenge_period=CHALLENGE_PERIOD,
        unbond_period=CHALLENGE_PERIOD,
        answer_period=PERIOD,
        rule=RuleKind.WEIGHTED_MEAN,
        trim_bps=0,
        server_learning_rate_bps=BPS,
        server_momentum_bps=0,
        chunk_norm_limit=0,
        update_fraction_bits=15,
        depth=10,
        reward=ETHER // 100,
        aggregator_share_bps=2_000,
        unrevealed_slash_bps=1_000,
        fraud_slash_bps=BPS,
        demand_bond=ETHER // 100,
        genesis_root=random_bytes("genesis root"),
        genesis_cid=Cid(random_bytes("genesis cid"), RAW),
        manifest_digest=random_bytes("manifest"),
    )


class Chain(Protocol):
    """What a bench needs of a chain."""

    web3: Web3

    def mine(self, seconds: int = 1) -> None:
        """Let a block be there whose time is so much later."""
        ...


class Bench:
    """A federation on its own chain, with all parties and aggregators registered.

    ``changes`` replace some of its parameters.
    """

    CONTRACT: ClassVar[type[Federation]] = Federation
    max_fee: ClassVar[int] = MAX_FEE

    def __init__(self, parties: int, aggregators: int, crowd: bool = False, **changes: Any) -> None:
        self.owner, self.keeper = signers("owner", 1)[0], signers("keeper", 1)[0]
        self.parties, self.aggregators = signers("party", parties), signers("signer", aggregators)
        self.params = dataclasses.replace(parameters(parties, crowd), **changes)
        everybody = [self.owner, self.keeper, *self.parties, *self.aggregators]
        self.nonces: Counter[str] = Counter()
        self.chain = self.open_chain({key.address: BALANCE for key in everybody})
        self.chain_id = self.chain.web3.eth.chain_id
        self.deployment = self._deploy()
        self.registration = self._register()

    def open_chain(self, balances: dict[str, int]) -> Chain:
        """The chain, on which these accounts have so many wei."""
        return DevelopmentChain(balances)

    def _deploy(self) -> dict[str, Cost]:
        """Run the migrations; return the cost of each contract."""
        web3, receipts = self.chain.web3, list[Receipt]()
        reverts = RevertDecoder.of_artifact(self.CONTRACT.ARTIFACT)
        sender = Sender(web3, self.owner, reverts, on_receipt=receipts.append)
        with tempfile.TemporaryDirectory() as directory:
            record = DeploymentRecord(Path(directory), web3.eth.chain_id)
            deployments = migrate(sender, self.params, record, self.private_params())
        self.federation = self.CONTRACT(web3, deployments[-1].address)
        self.nonces[self.owner.address] += len(receipts)
        costs = {}
        for deployment, receipt in zip(deployments, receipts, strict=True):
            sent = HexBytes(receipt.transaction)
            creation_code = bytes(web3.eth.get_transaction(sent)["input"])
            logs = web3.eth.get_transaction_receipt(sent)["logs"]
            code = web3.eth.get_code(Web3.to_checksum_address(deployment.address))
            work = deploy_work(deployment.contract, creation_code, code)
            floor = least_gas(creation_code, logs, work)
            costs[deployment.contract] = Cost(receipt.gas_used, floor, work)
        return costs

    def _register(self) -> dict[Role, Cost]:
        """Register everybody; return the cost of the last registration of each role."""
        costs = {}
        self.send(self.owner, self.federation.fund_rewards(ETHER), Work("changes the pot"))
        stakes = {
            Role.AGGREGATOR: self.params.min_aggregator_stake,
            Role.PARTY: self.params.min_party_stake,
        }
        for role, members in ((Role.AGGREGATOR, self.aggregators), (Role.PARTY, self.parties)):
            if role is Role.AGGREGATOR or not self.params.open_admission:
                call = self.federation.admit([key.address for key in members], role)
                self.send(self.owner, call, Work("adds each"))
            sent = [
                self.hand_over(key, self.registering(role, key, stakes[role]))
                for key in track(
                    members,
                    f"Registering {len(members):,} parties",
                    console=PROGRESS,
                    disable=len(members) < MANY,
                )
            ]
            costs[role] = [self._cost(*one, REGISTER[role]) for one in sent][-1]
        return costs

    def private_params(self) -> PrivateParams | None:
        """The parameters that only a private federation has."""
        return None

    def registering(self, role: Role, key: LocalSigner, stake: int) -> Call:
        return self.federation.register(role, key.address, stake)

    def send(self, key: LocalSigner, call: Call, work: Work) -> Cost:
        """Mine a call. Raises RuntimeError if it reverts."""
        return self._cost(*self.hand_over(key, call), work)

    def hand_over(self, key: LocalSigner, call: Call) -> tuple[Call, bytes]:
        """Send a call; return it with the transaction."""
        raw = key.sign_transaction(
            {
                "chainId": self.chain_id,
                "nonce": self.nonces[key.address],
                "gas": GAS_LIMIT,
                "maxFeePerGas": self.max_fee,
                "maxPriorityFeePerGas": 0,
                "to": call.to,
                "value": call.value,
                "data": call.data,
            }
        )
        self.nonces[key.address] += 1
        self.chain.web3.eth.send_raw_transaction(raw)
        return call, raw

    def receipt(self, call: Call, raw: bytes) -> TxReceipt:
        """The receipt of a transaction that was sent, when it is mined. Raises RuntimeError."""
        eth = self.chain.web3.eth
        receipt = eth.wait_for_transaction_receipt(HexBytes(keccak256(raw)), LONGEST_SECONDS)
        if receipt["status"] != 1:
            raise RuntimeError(f"{call.label} reverted")
        return receipt

    def _cost(self, call: Call, raw: bytes, work: Work) -> Cost:
        receipt = self.receipt(call, raw)
        floor = least_gas(call.data, receipt["logs"], work)
        return Cost(receipt["gasUsed"], floor, work, len(raw))

    def run_round(self, relayed: bool = False) -> Round:
        """Run a round to its acceptance."""
        federation = self.federation
        opening = [self.send(self.keeper, federation.open_round(), OPEN_FIRST)]
        self.chain.mine()
        opening.append(self.send(self.keeper, federation.open_round(), OPEN_SECOND))
        drawn_parties = self._drawn()
        number = self._observe().round
        updates = [self._update(number, key) for key in drawn_parties]
        commits = self._commit(number, drawn_parties, updates, relayed)
        if self.params.open_admission:
            # A crowd waits for the phase to end: other parties may have been drawn.
            self.chain.mine(PERIOD)
        reveals = self._reveal(drawn_parties, updates, relayed)
        seen = self._observe()
        result = Result(
            number,
            seen.updates_hash,
            seen.base_root,
            (1 << len(updates)) - 1,
            self.model_root(number),
            Cid(random_bytes("global cid", number), RAW),
        )
        signatures = [federation.sign_result(key, result) for key in self.aggregators]
        attest = federation.attest(result, signatures)
        cost = self.send(self.keeper, attest, attest_work(len(signatures)))
        return Round(result, updates, opening, commits, reveals, cost)

    def update_root(self, number: int, key: LocalSigner) -> bytes:
        """Return the root of a party's update in a round."""
        return random_bytes("root", number, key.address)

    def model_root(self, number: int) -> bytes:
        """Return the root of the model that a round's aggregators sign."""
        return random_bytes("global root", number)

    def _commit(
        self, number: int, keys: Sequence[LocalSigner], updates: Sequence[Update], relayed: bool
    ) -> list[Cost]:
        federation = self.federation
        hashes = [self._commitment(number, update) for update in updates]
        pairs = list(zip(keys, hashes, strict=True))
        sampled = self.params.open_admission
        if relayed:
            batch = [federation.sign_commit(key, number, digest) for key, digest in pairs]
            work = commit_work(len(batch), True, sampled)
            return [self.send(self.keeper, federation.commit_for(batch), work)]
        work = commit_work(1, False, sampled)
        return [self.send(key, federation.commit(number, digest), work) for key, digest in pairs]

    def _reveal(
        self, keys: Sequence[LocalSigner], updates: Sequence[Update], relayed: bool
    ) -> list[Cost]:
        if relayed:
            work = reveal_work(len(updates))
            return [self.send(self.keeper, self.federation.reveal(updates), work)]
        return [
            self.send(key, self.federation.reveal([update]), reveal_work(1))
            for key, update in zip(keys, updates, strict=True)
        ]

    def finish(self, done: Round) -> tuple[Cost, Cost]:
        """Finalize the next accepted round and distribute its rewards; return both costs."""
        self.chain.mine(PERIOD + CHALLENGE_PERIOD)
        finalize = self.send(self.keeper, self.federation.finalize(), FINALIZE)
        counted = [
            RevealedUpdate(done.result.round, u.party, i, u.weight, u.root, u.cid)
            for i, u in enumerate(done.updates)
        ]
        work = distribute_work(len(counted), len(self.aggregators))
        call = self.federation.distribute(done.result, counted)
        return finalize, self.send(self.keeper, call, work)

    def _observe(self) -> Any:
        return self.federation.observe(self.keeper.address).current

    def _drawn(self) -> list[LocalSigner]:
        """Return the drawn parties of the round, up to the number that it accepts."""
        if not self.params.open_admission:
            return self.parties
        seen, stake = self._observe(), self.params.min_party_stake
        chosen = [
            key
            for key in self.parties
            if drawn(seen.seed, key.address, stake, seen.party_stake, PARTIES)
        ]
        return chosen[: self.params.max_updates]

    def _update(self, number: int, key: LocalSigner) -> Update:
        name = (number, key.address)
        cid = Cid(random_bytes("cid", *name), RAW)
        return Update(
            key.address, 200, self.update_root(number, key), cid, random_bytes("salt", *name)
        )

    def _commitment(self, number: int, update: Update) -> bytes:
        return commitment(
            chain_id=self.federation.chain_id,
            federation=self.federation.address,
            round_number=number,
            party=update.party,
            root=update.root,
            cid=update.cid,
            weight=update.weight,
            salt=update.salt,
        )
