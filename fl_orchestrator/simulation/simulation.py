"""A whole federation in one process, on a deterministic development chain.

The roles are the real ones, until a caller replaces one. Runs with the same seed give the same
blocks, draws and models.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.audit.history import RoundEntry
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.history import HistoryFollower, HistoryHook
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import migrate
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.batches import ADMISSION_GAS, batches
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import ModelView, Observation, Phase, Role, RoundView
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.files import may_be_lost
from fl_orchestrator.model.digests import drawn
from fl_orchestrator.model.fixed_point import float_view
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles import base
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.aggregator.private import PrivateAggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.masked.terms import PrivateTerms
from fl_orchestrator.roles.party.party import Party, PartySettings
from fl_orchestrator.roles.party.rehearsal import training_config
from fl_orchestrator.roles.relay import Mailbox, Relay
from fl_orchestrator.roles.setup import Terms, federation_params, publish
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings
from fl_orchestrator.simulation.accounts import Accounts, salts
from fl_orchestrator.simulation.driver import Cast, run_until
from fl_orchestrator.simulation.kinds import Kind, Plain, Private
from fl_orchestrator.simulation.parallel.remote import Training
from fl_orchestrator.training.trainer import Metrics, Trainer, training_seed
from fl_orchestrator.units import ETHER

_BALANCE: Final = 1_000 * ETHER


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of participants in a simulation, and the federation's terms.

    If there are watchers, the aggregators answer their demands. With ``private`` terms it is a
    private federation.
    """

    aggregators: int
    rounds: int
    seed: int
    terms: Terms
    relay: bool = True
    party_stakes: Sequence[int] = ()
    watchers: int = 0
    private: PrivateTerms | None = None


@dataclass(frozen=True, slots=True)
class RoundReport:
    """The result of a round.

    ``clipped`` is the largest fraction of clipped values in any party's last update; ``gas`` is the
    gas of all transactions, by the calls' labels.
    """

    round: int
    accepted: bool
    drawn: int
    committed: int
    included: int
    clipped: float
    root: bytes
    cid: str
    gas: dict[str, int]

    def entry(self, metrics: Metrics) -> RoundEntry:
        """This round's entry in the record of a run, with the metrics of the head after it."""
        others = dict(metrics)
        return RoundEntry(
            round=self.round,
            accepted=self.accepted,
            drawn=self.drawn,
            committed=self.committed,
            included=self.included,
            accuracy=others.pop("accuracy", math.nan),
            loss=others.pop("loss", math.nan),
            metrics=others,
            clipped=self.clipped,
            gas=sum(self.gas.values()),
            gas_by_call=self.gas,
            root="0x" + self.root.hex(),
            cid=self.cid,
        )


class _Heads(HistoryHook):
    """The accepted models that no revocation has undone, the latest one last."""

    def __init__(self) -> None:
        self._models: list[ModelView] = []

    @property
    def latest(self) -> ModelView | None:
        return self._models[-1] if self._models else None

    def on_accepted(self, model: ModelView) -> None:
        self._models.append(model)

    def on_revoked(self, model: ModelView) -> None:
        self._models.remove(model)


class _Nobody:
    """A role that never does anything."""

    def step(self) -> base.Step:
        return base.Step(wait=base.NEVER)


@dataclass(slots=True)
class _GasMeter:
    by_label: dict[str, int] = field(default_factory=dict)
    total: int = 0

    def count(self, receipt: Receipt) -> None:
        self.total += receipt.gas_used
        self.by_label[receipt.label] = self.by_label.get(receipt.label, 0) + receipt.gas_used

    def take(self) -> dict[str, int]:
        """The gas since the last call, by label."""
        taken, self.by_label = self.by_label, {}
        return taken


class Simulation:
    """A federation of ``trainers``, one per party, with its files in ``directory``.

    `party`, `aggregator` and `watcher` create new objects for the same files. To simulate a restart
    of a process, create its role anew and pass it to `replace`.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        genesis: Sequence[NDArray[np.float32]],
        trainers: Sequence[Trainer],
        shape: Shape,
    ) -> None:
        self.manifest = manifest
        self.shape = shape
        self._directory = directory
        self._trainers = trainers
        # Nothing outside uses it, so what is unpinned goes at once.
        self.store = LocalStore(directory / "store", grace_seconds=0)
        self.accounts = Accounts.of_seed(
            shape.seed, shape.aggregators, len(trainers), shape.watchers
        )
        self.chain = DevelopmentChain({s.address: _BALANCE for s in self.accounts.all()})
        self._gas = _GasMeter()
        self._kind: Kind = Plain() if shape.private is None else Private(shape.private, shape.seed)
        self._reverts = RevertDecoder.of_artifact(self._kind.contract.ARTIFACT)
        self._mailbox = self._kind.mailbox()
        params = federation_params(manifest, publish(self.store, manifest, genesis), shape.terms)
        record = DeploymentRecord(directory / "deployments", self.chain.web3.eth.chain_id)
        owner = self.sender(self.accounts.owner)
        self.private = self._kind.params(manifest, params)
        deployment = migrate(owner, params, record, self.private)[-1]
        self.federation = self._kind.contract(self.chain.web3, deployment.address)
        self.deployed_at = deployment.block
        self.federation.share(since=deployment.block)
        self.rounds = self._kind.index(self.federation, deployment.block)
        stakes = shape.party_stakes or [shape.terms.min_party_stake] * len(trainers)
        self._stakes = {
            signer.address: stake
            for signer, stake in zip(self.accounts.parties, stakes, strict=True)
        }
        self._register(owner, params.reward * shape.rounds)
        self._last_round = 0
        self._hooks: list[tuple[HistoryFollower, HistoryHook]] = []
        self._heads = _Heads()
        self.follow(self._heads)
        parties = self.accounts.parties
        self._numbers = {signer.address: number for number, signer in enumerate(parties)}
        make = {account: partial(self.party, number) for account, number in self._numbers.items()}
        self._cast = Cast(make, self._is_drawn)
        for number, signer in enumerate(self.accounts.aggregators):
            self.replace(signer.address, self.aggregator(number))
        for number, signer in enumerate(self.accounts.watchers):
            self.replace(signer.address, self.watcher(number))
        self.replace(self.accounts.keeper.address, self._keeper())
        self._vectors = VectorCache(directory / "models", manifest)
        self.setup_gas = self._gas.take()

    @property
    def gas_total(self) -> int:
        """All gas since the first block."""
        return self._gas.total

    def observe(self, account: str | None = None) -> Observation:
        return self.federation.observe(account or self.accounts.keeper.address)

    def replace(self, account: str, role: base.Worker | None) -> None:
        """Let this role act for an account from now on, or no role if it is None."""
        self._cast.replace(account, role or _Nobody())

    def follow(self, hook: HistoryHook) -> None:
        """Call a hook for each round that is accepted or revoked, from the first round on.

        It is called between steps of the roles, each time that `run_until` reads the chain.
        """
        self._hooks.append((HistoryFollower(self.federation), hook))

    def run_until(self, done: Callable[[Observation], bool]) -> Observation:
        """Give all roles steps, and advance the time when none acts, until ``done``."""

        def reported(seen: Observation) -> bool:
            for follower, hook in self._hooks:
                follower.deliver(hook, seen)
            return done(seen)

        with may_be_lost():
            return run_until(self.chain, self.observe, self._cast.acting, reported)

    def run_round(self) -> RoundReport:
        """Open the next round and run it to its end, accepted or void."""
        self.open_round()
        return self.finish_round()

    def open_round(self) -> Observation:
        """Open the next round; nobody has committed yet."""
        self._last_round = self.observe().current.round + 1
        return self.run_until(
            lambda o: (o.current.round, o.current.phase) == (self._last_round, Phase.COMMIT)
        )

    def trainings(self) -> Iterator[Training]:
        """What the parties that are drawn train in the open round, in their order."""
        current = self.observe().current
        weights = self._weights(*current.base_model(), current.base)
        for address in self._cast.drawn(current):
            seed = training_seed(self.shape.seed, address, current.round)
            config = training_config(self.manifest, seed, current.round)
            yield Training(self._numbers[address], weights, config)

    def finish_round(self) -> RoundReport:
        """Run the open round to its end."""
        seen = self.run_until(lambda o: o.current.phase in (Phase.ACCEPTED, Phase.VOID))
        current = seen.current
        accepted = self._heads.latest == seen.head and seen.head.round == current.round
        included = 0
        if accepted:
            result = self.rounds.accepted(current.round, seen.block_number).result
            included = result.included.bit_count()
        return RoundReport(
            current.round,
            accepted,
            len(self._cast.drawn(current)),
            current.commits,
            included,
            self._clipped(),
            seen.head.root,
            str(seen.head.cid),
            self._gas.take(),
        )

    def settle(self) -> dict[str, int]:
        """Run until every round is final and its rewards are credited; return the gas used."""
        seen = self.run_until(lambda o: o.final_height == o.head.height)
        self.run_until(
            lambda _: all(map(self.federation.distributed, range(seen.head.height, 0, -1)))
        )
        return self._gas.take()

    def head_weights(self) -> list[NDArray[np.float32]]:
        """The float view of the head's model, read from the store and checked."""
        head = self.federation.head()
        return self._weights(head.cid, head.root, head.round)

    def _weights(self, cid: Cid, root: bytes, made_in: int) -> list[NDArray[np.float32]]:
        origin = Origin(self.federation.chain_id, self.federation.address)
        file = self._vectors.fetch(self.store, cid, root, origin.state(made_in))
        return float_view(self.manifest.layout, self._vectors.load(file))

    def sender(self, signer: LocalSigner) -> Sender:
        """A sender for an account, whose gas is added to the simulation's total."""
        return Sender(self.chain.web3, signer, self._reverts, on_receipt=self._gas.count)

    def _register(self, owner: Sender, rewards: int) -> None:
        federation, terms = self.federation, self.shape.terms
        parties, aggregators = self.accounts.parties, self.accounts.aggregators
        calls: list[tuple[Sender, Call]] = [
            (owner, federation.admit([s.address for s in aggregators], Role.AGGREGATOR)),
            (owner, federation.fund_rewards(rewards)),
        ]
        if not terms.open_admission:
            addresses = [signer.address for signer in parties]
            calls.extend(
                (owner, federation.admit(batch, Role.PARTY))
                for batch in batches(owner, addresses, ADMISSION_GAS)
            )
        for signer in parties:
            call = federation.register(Role.PARTY, signer.address, self._stakes[signer.address])
            calls.append((self.sender(signer), call))
        for number, signer in enumerate(aggregators):
            stake, home = terms.min_aggregator_stake, self._directory / _aggregator(number)
            call = self._kind.registration(federation, signer.address, stake, home, number)
            calls.append((self.sender(signer), call))
        for sender, call in calls:
            sender.send(call)

    def context(
        self, signer: LocalSigner, home: str, relay: Relay | None = None, checked: str = ""
    ) -> Context:
        """The context of this account's role, with a home in the simulation's directory.

        ``checked`` is the place there of what other roles of its kind have checked, if it takes it:
        they are one process, so a second check would show nothing.
        """
        return Context(
            federation=self.federation,
            sender=self.sender(signer),
            store=self.store,
            manifest=self.manifest,
            home=self._directory / home,
            deployed_at=self.deployed_at,
            relay=relay or self._relay,
            prompt=True,
            checked=self._directory / checked if checked else None,
        )

    def party(self, number: int) -> Party:
        signer = self.accounts.parties[number]
        context = self.context(signer, f"parties/{number}", checked="parties/checked")
        settings = PartySettings(self.shape.seed, salts(self.shape.seed, number))
        return Party(context, self._trainers[number], settings)

    def aggregator(self, number: int, relay: Relay | None = None) -> Aggregator | PrivateAggregator:
        """An aggregator, with a relay of its own if one is given."""
        signer, checked = self.accounts.aggregators[number], "aggregators/checked"
        context = self.context(signer, _aggregator(number), relay, checked)
        responder = Responder(context, self.rounds) if self.shape.watchers else None
        return self._kind.aggregator(context, number, responder)

    def watcher(self, number: int) -> Watcher:
        signer = self.accounts.watchers[number]
        return Watcher(
            self.context(signer, f"watchers/{number}"),
            WatcherSettings(secret=hashlib.sha256(signer.address.encode()).digest()),
        )

    def _keeper(self) -> Keeper:
        return self._kind.keeper(
            self.federation,
            self.sender(self.accounts.keeper),
            self._mailbox,
            self.deployed_at,
            lambda round_number: round_number <= self._last_round,
        )

    @property
    def _relay(self) -> Mailbox | None:
        return self._mailbox if self.shape.relay else None

    def _clipped(self) -> float:
        roles = self._cast.workers()
        return max((role.clipped for role in roles if isinstance(role, Party)), default=0.0)

    def _is_drawn(self, current: RoundView, address: str) -> bool:
        terms = self.shape.terms
        if not terms.open_admission and terms.max_parties <= terms.participants:
            return True
        stake = self._stakes[address]
        return drawn(current.seed, address, stake, current.party_stake, terms.participants)


def _aggregator(number: int) -> str:
    """An aggregator's home in the simulation's directory."""
    return f"aggregators/{number}"
