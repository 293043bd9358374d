"""Where an attack takes place: a federation with real data, and what its chain says of everybody.

The model is a softmax regression in NumPy, so that an attack starts in seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from web3 import Web3

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.attacks.adversary import Adversary
from fl_orchestrator.attacks.base import Cost
from fl_orchestrator.chain.events import AcceptedRound, MissingEvents
from fl_orchestrator.chain.types import included_indices
from fl_orchestrator.experiment import Options, manifest_for
from fl_orchestrator.model.digests import result_digest
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.roles.simulation import Shape, Simulation
from fl_orchestrator.training import datasets
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights
from fl_orchestrator.training.tasks import CATEGORICAL, deal, task_named
from fl_orchestrator.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class _Holdings:
    """What an account has, in wei: coin, both stakes, and rewards not withdrawn yet."""

    balance: int
    stake: int
    credit: int


class Scene:
    """A federation before its first round, its rows dealt evenly.

    Every stake is twice the minimum, so that a slashed party still counts. ``hostile`` gives some
    parties, by number from 0, another trainer than their honest one.
    """

    def __init__(
        self,
        directory: Path,
        options: Options,
        hostile: Mapping[int, Callable[[Trainer], Trainer]] | None = None,
    ) -> None:
        data = datasets.load(options.dataset)
        task = task_named(options.dataset)
        training = dataclasses.replace(task.training, loss=CATEGORICAL)
        task = dataclasses.replace(task, training=training)
        dealt = deal(task, data, "iid", options.parties, options.seed)
        trainers: list[Trainer] = [NumpyLogistic(rows, data.classes) for rows in dealt.parties]
        for number, corrupt in (hostile or {}).items():
            trainers[number] = corrupt(trainers[number])
        self._evaluator = NumpyLogistic(dealt.test, data.classes)
        self.terms = Terms(max_parties=options.parties, participants=options.parties)
        self.simulation = Simulation(
            directory,
            manifest_for(task, self._evaluator, options),
            initial_weights(dealt.test.x.shape[1], data.classes),
            trainers,
            Shape(
                options.aggregators,
                options.rounds,
                options.seed,
                self.terms,
                party_stakes=[2 * self.terms.min_party_stake] * options.parties,
            ),
        )
        accounts = self.simulation.accounts
        self.federation = self.simulation.federation
        self.parties = [signer.address for signer in accounts.parties]
        self.aggregators = [signer.address for signer in accounts.aggregators]
        self.keeper = accounts.keeper.address
        everybody = (*self.parties, *self.aggregators, self.keeper)
        self._before = {address: self._holdings(address) for address in everybody}
        self._contract = self.federation.web3.eth.contract(
            address=self.federation.address, abi=load_artifact("Federation").abi
        )

    def adversary(self, number: int) -> Adversary:
        """The account of a party whose process runs no more: it is used by hand."""
        signer = self.simulation.accounts.parties[number]
        self.simulation.replace(signer.address, None)
        sender = self.simulation.sender(signer)
        return Adversary(self.federation, sender, self.simulation.manifest.layout)

    def accuracy(self) -> float:
        """Accuracy of the head's model on the test rows."""
        return self._evaluator.evaluate(self.simulation.head_weights(), {})[2]["accuracy"]

    # ------------------------------------------------------------------ what the chain says

    def events(self, name: str) -> list[Any]:
        """All events of one kind: the logs, whose ``args`` have the values."""
        return list(self._contract.events[name].get_logs(from_block=0))

    def calldata(self, log: Any) -> dict[str, Any]:
        """The arguments of the call that an event came from: everybody can read them."""
        transaction = self.federation.web3.eth.get_transaction(log["transactionHash"])
        return dict(self._contract.decode_function_input(transaction["input"])[1])

    def included(self, round_number: int) -> set[str]:
        """The parties whose updates are in the accepted result of a round; none if it is void."""
        accepted = self._accepted(round_number)
        if accepted is None:
            return set()
        chosen = included_indices(accepted.result.included)
        return {update.party for update in accepted.updates if update.index in chosen}

    def signers(self, round_number: int) -> set[str]:
        """The aggregators that signed the accepted result of a round; none if it is void."""
        accepted = self._accepted(round_number)
        if accepted is None:
            return set()
        federation = self.federation
        digest = result_digest(federation.chain_id, federation.address, accepted.result)
        signed = federation.attestation(digest).signers
        seats = {a: self.simulation.observe(a).aggregator.seat for a in self.aggregators}
        return {address for address, seat in seats.items() if signed >> seat & 1}

    def _accepted(self, round_number: int) -> AcceptedRound | None:
        try:
            last = self.simulation.observe().block_number
            return self.simulation.rounds.accepted(round_number, last)
        except MissingEvents:
            return None

    def reward(self, address: str) -> int:
        """What an account has been credited with, in wei."""
        return self._holdings(address).credit - self._before[address].credit

    def stake_lost(self, address: str) -> int:
        """In wei."""
        return self._before[address].stake - self._holdings(address).stake

    def burnt(self, party: str) -> int:
        """How much of a party's stake was slashed and burnt, in wei."""
        slashes = (log["args"] for log in self.events("Slashed"))
        return sum(slash["burnt"] for slash in slashes if slash["account"] == party)

    def frozen_stake(self, aggregators: Iterable[str]) -> int:
        """What these aggregators' votes weigh together in the current round, in wei."""
        return sum(self.simulation.observe(a).aggregator.frozen_stake for a in aggregators)

    def costs(self, named: Mapping[str, str]) -> tuple[Cost, ...]:
        """What some accounts, by their names in the story, paid and earned since the beginning."""
        return tuple(self._cost(who, address) for who, address in named.items())

    def _cost(self, who: str, address: str) -> Cost:
        peers = next((g for g in (self.parties, self.aggregators) if address in g), [address])
        reward = self.reward(address)
        return Cost(
            who,
            stake_lost=self.stake_lost(address),
            # Nobody has paid in or withdrawn anything: what is gone went to the gas.
            gas_paid=self._before[address].balance - self._holdings(address).balance,
            reward=reward,
            reward_forgone=max(map(self.reward, peers)) - reward,
        )

    def _holdings(self, address: str) -> _Holdings:
        seen = self.simulation.observe(address)
        balance = self.federation.web3.eth.get_balance(Web3.to_checksum_address(address))
        return _Holdings(balance, seen.party.stake + seen.aggregator.stake, seen.credit)
