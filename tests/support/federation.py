"""A small federation in this process; a test can stop, replace and restart every part of it.

The chain, the contract, the stores and the roles are the real ones; only the model is tiny. Unlike
`Simulation`, which runs all roles, it runs only the roles that a test passes to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import migrate
from fl_orchestrator.chain.deployment.record import Deployment, DeploymentRecord
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import (
    Observation,
    Params,
    Phase,
    PrivateParams,
    Role,
    included_indices,
)
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest, RuleSpec, TensorSpec, TrainingSpec
from fl_orchestrator.roles import base
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.monitor import Monitor, NoMonitor
from fl_orchestrator.roles.party.party import Party, PartySettings
from fl_orchestrator.roles.relay import Mailbox, Relay
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.roles.schedule import Schedule
from fl_orchestrator.roles.setup import Genesis, Terms, federation_params, publish
from fl_orchestrator.roles.vectors import VectorCache
from fl_orchestrator.simulation.driver import run_until
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights, tensors
from fl_orchestrator.training.trainer import Trainer
from fl_orchestrator.units import ETHER

FEATURES = 4
CLASSES = 2
ROWS = 24
ENDED = (Phase.ACCEPTED, Phase.VOID)


def small_manifest(**changes: Any) -> Manifest:
    """A logistic regression of ten parameters: two tensors, so two chunks that end with padding."""
    specs = tensors(FEATURES, CLASSES)
    settings: dict[str, Any] = {
        "name": "small",
        "tensors": tuple(TensorSpec(name=t.name, shape=t.shape) for t in specs),
        "depth": Layout.of((t.name, t.shape, 0) for t in specs).depth,
        "rule": RuleSpec(),
        "samples_per_weight": ROWS,
        "training": TrainingSpec(
            epochs=1,
            batch_size=8,
            learning_rate=0.1,
            optimizer="sgd",
            loss="sparse_categorical_crossentropy",
        ),
    }
    return Manifest(**{**settings, **changes})


def rows_of(party: int) -> Rows:
    """A party's own rows: two separable classes, different for each party."""
    generator = np.random.Generator(np.random.PCG64(party))
    y = (np.arange(ROWS) % CLASSES).astype(np.int32)
    x = generator.normal(0.0, 0.5, (ROWS, FEATURES)) + y[:, None]
    return Rows(x.astype(np.float32), y)


def trainers(parties: int) -> list[Trainer]:
    return [NumpyLogistic(rows_of(party), CLASSES) for party in range(parties)]


def signer(name: str) -> LocalSigner:
    return LocalSigner.from_secret(hashlib.sha256(f"test key of {name}".encode()).digest())


def consortium(parties: int, **changes: Any) -> Terms:
    """Terms by which every party is drawn, and half of them are enough for a round."""
    few = {"min_updates": max(1, parties // 2)}
    settings = {"max_parties": parties, "participants": parties, **few, **changes}
    return Terms(**settings)


class SmallFederation:
    """A deployed federation with everybody registered, before its first round.

    `party`, `aggregator` and `keeper` create new objects with the same files, so a second call acts
    as a restart of that process.
    """

    CONTRACT: ClassVar[type[Federation]] = Federation

    def __init__(
        self,
        directory: Path,
        parties: int = 3,
        aggregators: int = 1,
        terms: Terms | None = None,
        *,
        manifest: Manifest | None = None,
        register: bool = True,
        stakes: Sequence[int] | None = None,
        weights: Sequence[NDArray[np.float32]] | None = None,
        aggregator_stake: int = 0,
        chain: Callable[[dict[str, int]], DevelopmentChain] = DevelopmentChain,
    ) -> None:
        """``chain`` makes a chain in which accounts have so many wei."""
        self.directory = directory
        self.terms = terms or consortium(parties)
        self.manifest = manifest or small_manifest()
        self.store = LocalStore(directory / "store")
        #: What the roles share; they look when they are made.
        self.cache: Path | None = None
        self.mailbox = self._new_mailbox()
        self.trainers = trainers(parties)
        self.owner, self.keeper_key, self.outsider = map(signer, ("owner", "keeper", "outsider"))
        self.parties = [signer(f"party {i}") for i in range(parties)]
        self.aggregators = [signer(f"aggregator {i}") for i in range(aggregators)]
        everybody = (
            self.owner,
            self.keeper_key,
            self.outsider,
            *self.parties,
            *self.aggregators,
        )
        self.chain = chain({s.address: 1_000 * ETHER for s in everybody})
        self.reverts = RevertDecoder.of_artifact(self.CONTRACT.ARTIFACT)
        self.receipts: list[Receipt] = []
        self.genesis: Genesis = publish(
            self.store, self.manifest, weights or initial_weights(FEATURES, CLASSES)
        )
        self.params: Params = federation_params(self.manifest, self.genesis, self.terms)
        record = DeploymentRecord(directory / "deployments", self.chain.web3.eth.chain_id)
        self.deployment = self._deployed(record)
        self.federation = self._opened()
        if register:
            party_stakes = stakes or [self.terms.min_party_stake] * parties
            self._register(party_stakes, aggregator_stake or self.terms.min_aggregator_stake)

    def _register(self, stakes: Sequence[int], aggregator_stake: int) -> None:
        federation = self.federation
        self.send(self.owner, federation.fund_rewards(100 * self.terms.reward))
        for role, members in ((Role.AGGREGATOR, self.aggregators), (Role.PARTY, self.parties)):
            self.send(self.owner, federation.admit([s.address for s in members], role))
        for key, stake in zip(self.parties, stakes, strict=True):
            self.send(key, federation.register(Role.PARTY, key.address, stake))
        for number, key in enumerate(self.aggregators):
            self.send(key, self._registration(number, aggregator_stake))

    def _deployed(self, record: DeploymentRecord) -> Deployment:
        sender = self.sender(self.owner)
        return migrate(sender, self.params, record, self._private_params())[-1]

    def _opened(self) -> Federation:
        return self.CONTRACT(self.chain.web3, self.deployment.address)

    # What a private federation does in another way.

    def _new_mailbox(self) -> Mailbox:
        return Mailbox()

    def _private_params(self) -> PrivateParams | None:
        return None

    def _registration(self, number: int, stake: int) -> Call:
        """The call that registers an aggregator."""
        return self.federation.register(Role.AGGREGATOR, self.aggregators[number].address, stake)

    # ------------------------------------------------------------------ processes

    def sender(self, key: LocalSigner) -> Sender:
        return Sender(self.chain.web3, key, self.reverts, on_receipt=self.receipts.append)

    def send(self, key: LocalSigner, call: Call) -> Receipt:
        return self.sender(key).send(call)

    def context(
        self,
        key: LocalSigner,
        home: Path,
        *,
        sender: Sender | None = None,
        store: ContentStore | None = None,
        relay: Relay | None = None,
        retention: Retention | None = None,
        monitor: Monitor | None = None,
    ) -> Context:
        """The context of a role of this account."""
        return Context(
            federation=self.federation,
            sender=sender or self.sender(key),
            store=store or self.store,
            manifest=self.manifest,
            home=home,
            deployed_at=self.deployment.block,
            relay=relay,
            retention=retention,
            monitor=monitor or NoMonitor(),
            cache=self.cache,
        )

    def party(
        self,
        number: int,
        *,
        relay: Relay | None = None,
        store: ContentStore | None = None,
        trainer: Trainer | None = None,
        sender: Sender | None = None,
        retention: Retention | None = None,
        monitor: Monitor | None = None,
        **settings: Any,
    ) -> Party:
        return Party(
            self.context(
                self.parties[number],
                self.home("parties", number),
                sender=sender,
                store=store,
                relay=relay,
                retention=retention,
                monitor=monitor,
            ),
            trainer or self.trainers[number],
            PartySettings(
                0, lambda n: hashlib.sha256(f"{number} {n}".encode()).digest(), **settings
            ),
        )

    def aggregator(
        self,
        number: int,
        *,
        relay: Relay | None = None,
        store: ContentStore | None = None,
        sender: Sender | None = None,
        responder: Responder | None = None,
        retention: Retention | None = None,
        monitor: Monitor | None = None,
    ) -> Aggregator:
        context = self.context(
            self.aggregators[number],
            self.home("aggregators", number),
            sender=sender,
            store=store,
            relay=relay,
            retention=retention,
            monitor=monitor,
        )
        return Aggregator(context, responder)

    def home(self, role: str, number: int) -> Path:
        """The directory of one of the ``parties`` or ``aggregators``."""
        return self.directory / role / str(number)

    def keeper(
        self,
        last_round: int = 1_000_000,
        sender: Sender | None = None,
        monitor: Monitor | None = None,
    ) -> Keeper:
        return Keeper(
            self.federation,
            sender or self.sender(self.keeper_key),
            self.mailbox,
            self.deployment.block,
            lambda round_number: round_number <= last_round,
            monitor,
        )

    def everybody(self, relay: Relay | None = None) -> list[base.Worker]:
        """All parties, then all aggregators."""
        return [
            *(self.party(i, relay=relay) for i in range(len(self.parties))),
            *(self.aggregator(i, relay=relay) for i in range(len(self.aggregators))),
        ]

    # ------------------------------------------------------------------ time

    def observe(self, key: LocalSigner | None = None) -> Observation:
        return self.federation.observe((key or self.keeper_key).address)

    def included(self, round_number: int = 1) -> set[int]:
        """The numbers of the parties whose updates are in a round's accepted result."""
        digest = self.federation.accepted_digests(0)[round_number]
        included = included_indices(self.federation.proposed_results(0)[digest].included)
        updates = self.federation.revealed_updates(0, round_number=round_number)
        parties = {update.party for update in updates if update.index in included}
        return {number for number, key in enumerate(self.parties) if key.address in parties}

    def run(self, roles: Iterable[base.Worker], done: Callable[[Observation], bool]) -> Observation:
        """Step the roles in turns until `done`; advance time when none of them acts."""
        schedules = [Schedule(role) for role in roles]
        return run_until(self.chain, self.observe, lambda _: schedules, done)

    def run_to(self, phase: Phase, roles: Iterable[base.Worker], round_number: int) -> Observation:
        """Run until a round is in a phase."""
        return self.run(
            roles, lambda o: (o.current.round, o.current.phase) == (round_number, phase)
        )

    def run_round(
        self,
        roles: Iterable[base.Worker],
        round_number: int = 1,
        keeper: base.Worker | None = None,
    ) -> Observation:
        """Run a round to its end, with a keeper that opens no other round."""
        return self.run(
            [*roles, keeper or self.keeper(round_number)],
            lambda o: o.current.round == round_number and o.current.phase in ENDED,
        )

    def open_round(self) -> Observation:
        """Open the next round, by its two calls."""
        self.send(self.keeper_key, self.federation.open_round())
        for _ in range(2):
            self.chain.mine()
        self.send(self.keeper_key, self.federation.open_round())
        return self.observe()

    def due_at(self, *steps: base.Step) -> int:
        """The next time at which one of these steps wants to be asked again."""
        times = [step.wait.next_time(self.chain.now) for step in steps]
        return min(time for time in times if time is not None)

    def pass_until(self, timestamp: int) -> None:
        """Advance time to a timestamp, one block at a time."""
        self.chain.mine(timestamp - self.chain.now)


#: Creates a federation in its own directory; the other arguments are those of SmallFederation.
Build = Callable[..., SmallFederation]


def head_state(federation: SmallFederation) -> NDArray[np.int32]:
    """The values of the head's model, fetched from the store."""
    head = federation.federation.head()
    cache = VectorCache(federation.directory / "look", federation.manifest)
    party = federation.party(0)
    file = cache.fetch(federation.store, head.cid, head.root, party._origin.state(head.round))
    state: NDArray[np.int32] = cache.load(file)
    return state
