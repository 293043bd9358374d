"""The scene of an attack: a federation with real data, and queries of its chain.

The model is a softmax regression in NumPy, so that an attack starts in seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from web3 import Web3

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.attacks.adversary import Adversary
from fl_orchestrator.attacks.base import Cost
from fl_orchestrator.chain.contract.events import AcceptedRound, MissingEvents
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Role, included_indices
from fl_orchestrator.model.digests import ZERO_HASH
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.simulation.options import Options, manifest_for
from fl_orchestrator.simulation.simulation import Shape, Simulation
from fl_orchestrator.training import datasets
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights
from fl_orchestrator.training.tasks import CATEGORICAL, partition_dataset, task_named
from fl_orchestrator.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class _Holdings:
    """The coin and both stakes of an account, in wei."""

    balance: int
    stake: int


class Scene:
    """A federation before its first round, whose rows are partitioned evenly.

    Every party's stake is twice the minimum, so that a slashed party still counts. ``hostile``
    replaces the trainers of some parties, by number from 0. ``depth`` is the depth of the chunk
    tree, if it must be larger than the model needs.
    """

    def __init__(
        self,
        directory: Path,
        options: Options,
        hostile: Mapping[int, Callable[[Trainer], Trainer]] | None = None,
        *,
        watchers: int = 0,
        depth: int | None = None,
    ) -> None:
        data = datasets.load(options.dataset)
        task = task_named(options.dataset)
        training = dataclasses.replace(task.training, loss=CATEGORICAL)
        task = dataclasses.replace(task, training=training)
        dealt = partition_dataset(task, data, "iid", options.parties, options.seed)
        trainers: list[Trainer] = [NumpyLogistic(rows, data.classes) for rows in dealt.parties]
        for number, corrupt in (hostile or {}).items():
            trainers[number] = corrupt(trainers[number])
        self._evaluator = NumpyLogistic(dealt.test, data.classes)
        self.directory = directory
        self.terms = Terms(max_parties=options.parties, participants=options.parties)
        manifest = manifest_for(task, self._evaluator, options)
        self.simulation = Simulation(
            directory,
            manifest if depth is None else _with_depth(manifest, depth),
            initial_weights(dealt.test.x.shape[1], data.classes),
            trainers,
            Shape(
                options.aggregators,
                options.rounds,
                options.seed,
                self.terms,
                party_stakes=[2 * self.terms.min_party_stake] * options.parties,
                watchers=watchers,
            ),
        )
        accounts = self.simulation.accounts
        self.federation = self.simulation.federation
        self.parties = [signer.address for signer in accounts.parties]
        self.aggregators = [signer.address for signer in accounts.aggregators]
        self.watchers = [signer.address for signer in accounts.watchers]
        self.keeper = accounts.keeper.address
        everybody = (*self.parties, *self.aggregators, *self.watchers, self.keeper)
        self._before = {address: self._holdings(address) for address in everybody}
        self._contract = self.federation.web3.eth.contract(
            address=self.federation.address, abi=load_artifact("Federation").abi
        )
        names = (entry["name"] for entry in self._contract.abi if entry["type"] == "event")
        events = map(self._contract.events.__getitem__, names)
        self._events_by_topic = {bytes.fromhex(event.topic[2:]): event for event in events}
        self._logs: dict[str, list[Any]] = {}
        self._gas: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._next_block = 0
        self._read_blocks()
        self._gas.clear()

    def adversary(self, number: int) -> Adversary:
        """Stop a party's process, and return its account for use without our software."""
        signer = self.simulation.accounts.parties[number]
        self.simulation.replace(signer.address, None)
        sender = self.simulation.sender(signer)
        return Adversary(self.federation, sender, self.simulation.manifest.layout)

    def admit_aggregator(self) -> str:
        """Admit, register (with the minimum stake) and run a new aggregator; return its address."""
        simulation, stake = self.simulation, self.terms.min_aggregator_stake
        known = simulation.accounts.aggregators
        secret = f"fl-orchestrator development key\n{simulation.shape.seed}\nlater {len(known)}"
        signer = LocalSigner.from_secret(hashlib.sha256(secret.encode()).digest())
        address = Web3.to_checksum_address(signer.address)
        owner = simulation.sender(simulation.accounts.owner)
        owner.send(Call(address, b"", 2 * stake, "transfer"))
        owner.send(self.federation.admit([address], Role.AGGREGATOR))
        self._before[address] = dataclasses.replace(self._holdings(address), stake=stake)
        register = self.federation.register(Role.AGGREGATOR, address, stake)
        simulation.sender(signer).send(register)
        known.append(signer)
        self.aggregators.append(address)
        simulation.replace(address, simulation.aggregator(len(known) - 1))
        return address

    def funded_account(self, name: str, coin: int) -> Sender:
        """A new account, without any role, to which the owner gives so many wei."""
        simulation = self.simulation
        secret = f"fl-orchestrator development key\n{simulation.shape.seed}\n{name}"
        signer = LocalSigner.from_secret(hashlib.sha256(secret.encode()).digest())
        address = Web3.to_checksum_address(signer.address)
        owner = simulation.sender(simulation.accounts.owner)
        owner.send(Call(address, b"", coin, "transfer"))
        self._before[address] = self._holdings(address)
        return simulation.sender(signer)

    def accuracy(self) -> float:
        """Accuracy of the head's model on the test rows."""
        return self._evaluator.evaluate(self.simulation.head_weights(), {})[2]["accuracy"]

    # ------------------------------------------------------------------ queries of the chain

    def events(self, name: str, **values: Any) -> list[Any]:
        """The logs of an event with these values; ``args`` of each has all its values."""
        self._read_blocks()
        return [log for log in self._logs.get(name, ()) if values.items() <= log["args"].items()]

    def gas_paid(self, address: str) -> int:
        """The fees that an account has paid for gas since the start, in wei."""
        self._read_blocks()
        return self._gas[address]

    def failed_transactions(self, address: str) -> int:
        """How many transactions of an account reverted since the start."""
        self._read_blocks()
        return self._failed[address]

    def time_of(self, log: Any) -> int:
        """The chain's time at which an event was emitted."""
        return int(self.federation.web3.eth.get_block(log["blockNumber"])["timestamp"])

    def _read_blocks(self) -> None:
        """Read the blocks since the last call."""
        eth = self.federation.web3.eth
        first, last = self._next_block, eth.block_number
        self._next_block = last + 1
        for number in range(first, last + 1):
            for transaction in eth.get_block(number)["transactions"]:
                receipt = eth.get_transaction_receipt(transaction)  # type: ignore[arg-type]
                self._gas[receipt["from"]] += receipt["gasUsed"] * receipt["effectiveGasPrice"]
                self._failed[receipt["from"]] += receipt["status"] != 1
                for log in receipt["logs"]:
                    if log["address"] == self.federation.address:
                        event = self._events_by_topic[bytes(log["topics"][0])]
                        self._logs.setdefault(event.event_name, []).append(event.process_log(log))

    def calldata(self, log: Any) -> dict[str, Any]:
        """The public arguments of the call that emitted an event."""
        transaction = self.federation.web3.eth.get_transaction(log["transactionHash"])
        return dict(self._contract.decode_function_input(transaction["input"])[1])

    def included(self, round_number: int) -> set[str]:
        """The parties whose updates are in the accepted result of a round; none if it is void."""
        accepted = self.accepted(round_number)
        if accepted is None:
            return set()
        chosen = included_indices(accepted.result.included)
        return {update.party for update in accepted.updates if update.index in chosen}

    def signers(self, round_number: int) -> set[str]:
        """The aggregators that signed the accepted result of a round; none if it is void."""
        digest = self.accepted_digest(round_number)
        signed = self.federation.attestation(digest).signers
        seats = {a: self.simulation.observe(a).aggregator.seat for a in self.aggregators}
        return {address for address, seat in seats.items() if signed >> seat & 1}

    def accepted_digest(self, round_number: int) -> bytes:
        """The digest of the accepted result of a round; zeros if it is void."""
        accepted = self.events("RoundAccepted", round=round_number)
        return bytes(accepted[0]["args"]["digest"]) if accepted else ZERO_HASH

    def base_round(self, round_number: int) -> int | None:
        """The round whose model an accepted one was made from; None if it is void."""
        accepted = self.accepted(round_number)
        if accepted is None:
            return None
        heights = range(self.simulation.observe().head.height, -1, -1)
        models = map(self.federation.model, heights)
        return next((m.round for m in models if m.root == accepted.result.base_root), None)

    def slashes(self, round_number: int) -> list[Any]:
        """The values of the slash events for the signers of a round's fraudulent results."""
        logs = self.events("Slashed", round=round_number, role=Role.AGGREGATOR)
        return [log["args"] for log in logs]

    def accepted(self, round_number: int) -> AcceptedRound | None:
        """The accepted result of a round, also of a revoked one; None if it is void."""
        try:
            last = self.simulation.observe().block_number
            return self.simulation.rounds.accepted(round_number, last)
        except MissingEvents:
            return None

    def reward(self, address: str) -> int:
        """The credit of an account, in wei, without the refunds of its own bonds."""
        credited = self._sum("Credited", "amount", account=address)
        return credited - self.bonds(address)[1]

    def bonds(self, address: str) -> tuple[int, int]:
        """The bonds that an account has paid for demands, and their refunds, in wei."""
        made = {log["args"]["id"] for log in self.events("Demanded", demander=address)}
        settled = (log["args"] for log in self.events("BondSettled", to=address))
        returned = sum(bond["paid"] for bond in settled if bond["id"] in made)
        return self._sum("Demanded", "bond", demander=address), returned

    def stake_lost(self, address: str) -> int:
        """In wei."""
        return self._before[address].stake - self._holdings(address).stake

    def burnt(self, address: str) -> int:
        """How much of an account's stake was slashed and burnt, in wei."""
        return self._sum("Slashed", "burnt", account=address)

    def gain(self, address: str) -> int:
        """How much more coin an account has than before the first round, in wei."""
        return self._holdings(address).balance - self._before[address].balance

    def frozen_stake(self, aggregators: Iterable[str]) -> int:
        """The total weight of these aggregators' votes in the current round, in wei."""
        return sum(self.simulation.observe(a).aggregator.frozen_stake for a in aggregators)

    def costs(self, named: Mapping[str, str]) -> tuple[Cost, ...]:
        """The costs and rewards of accounts, by their names in the story, since the start."""
        return tuple(self._cost(who, address) for who, address in named.items())

    def _cost(self, who: str, address: str) -> Cost:
        peers = next((g for g in (self.parties, self.aggregators) if address in g), [address])
        reward = self.reward(address)
        paid, returned = self.bonds(address)
        return Cost(
            who,
            stake_lost=self.stake_lost(address),
            gas_paid=self.gas_paid(address),
            reward=reward,
            reward_forgone=max(map(self.reward, peers)) - reward,
            bonds_lost=paid - returned,
        )

    def _sum(self, name: str, amount: str, **values: Any) -> int:
        return sum(log["args"][amount] for log in self.events(name, **values))

    def _holdings(self, address: str) -> _Holdings:
        seen = self.simulation.observe(address)
        balance = self.federation.web3.eth.get_balance(Web3.to_checksum_address(address))
        return _Holdings(balance, seen.party.stake + seen.aggregator.stake)


def _with_depth(manifest: Manifest, depth: int) -> Manifest:
    return Manifest.model_validate({**manifest.model_dump(by_alias=False), "depth": depth})
