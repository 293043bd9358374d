"""A small federation on a real chain of validators, its roles in threads of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fl_orchestrator.attacks.collusion import Colluder
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import migrate
from fl_orchestrator.chain.deployment.record import Deployment, DeploymentRecord
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.chain.types import Role as Account
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.context import Context, ReadContext
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.manifests import manifest_of
from fl_orchestrator.roles.party.party import Party, PartySettings
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.roles.relay import Mailbox
from fl_orchestrator.roles.setup import federation_params, publish
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings
from fl_orchestrator.service.loop import Service
from fl_orchestrator.service.stop import Stop
from fl_orchestrator.training.numpy_logistic import initial_weights
from fl_orchestrator.units import ETHER
from support.federation import CLASSES, FEATURES, consortium, signer, small_manifest, trainers

PERIOD_SECONDS = 60
_POLL_SECONDS = 0.2
_SYNCHRONISED_SECONDS = 120.0
_PERIODS = {
    "commit_period": PERIOD_SECONDS,
    "reveal_period": PERIOD_SECONDS,
    "attest_period": PERIOD_SECONDS,
}


class Consortium:
    """The accounts of a federation on a running chain, and everything that they share.

    Each account uses all endpoints of the chain, and each starts with a different one.
    """

    def __init__(self, directory: Path, parties: int, aggregators: int) -> None:
        self.directory = directory
        self.owner, self.keeper = signer("owner"), signer("keeper")
        self.parties = [signer(f"party {i}") for i in range(parties)]
        self.aggregators = [signer(f"aggregator {i}") for i in range(aggregators)]
        self.manifest = small_manifest()
        self.store = LocalStore(directory / "store")
        self._trainers = trainers(parties)

    @property
    def accounts(self) -> list[LocalSigner]:
        return [self.owner, self.keeper, *self.parties, *self.aggregators]

    def balances(self) -> dict[str, int]:
        """Coin for everybody, for the genesis block."""
        return {account.address: 100 * ETHER for account in self.accounts}

    def deploy(self, urls: Sequence[str], **periods: int) -> None:
        """Deploy the federation, and register all accounts at the same time.

        ``periods`` are fields of its terms.
        """
        self._urls = urls
        terms = consortium(
            len(self.parties),
            **{**_PERIODS, **periods},
        )
        genesis = publish(self.store, self.manifest, initial_weights(FEATURES, CLASSES))
        web3 = connect(urls)
        owner = Sender(web3, self.owner, RevertDecoder.of_artifact("Federation"))
        record = DeploymentRecord(self.directory / "deployments", web3.eth.chain_id)
        self.deployment = migrate(owner, federation_params(self.manifest, genesis, terms), record)[
            -1
        ]
        self._register()

    def join(self, urls: Sequence[str], deployment: Deployment) -> None:
        """Register all accounts in a federation that the owner has created; the store has it."""
        self._urls, self.deployment = urls, deployment
        self.manifest = manifest_of(self.store, self.federation())
        self._register()

    def _register(self) -> None:
        web3 = connect(self._urls)
        owner = Sender(web3, self.owner, RevertDecoder.of_artifact("Federation"))
        chain = Federation(web3, self.deployment.address)
        terms = chain.params()
        admissions: list[Call] = []
        members: list[tuple[LocalSigner, Call]] = []
        for role, accounts, stake in (
            (Account.PARTY, self.parties, terms.min_party_stake),
            (Account.AGGREGATOR, self.aggregators, terms.min_aggregator_stake),
        ):
            admissions.append(chain.admit([account.address for account in accounts], role))
            members += [(a, chain.register(role, a.address, stake)) for a in accounts]
        with ThreadPoolExecutor() as pool:
            list(pool.map(owner.send, admissions))
            # Use the owner's endpoint: another node may not have the admissions yet.
            list(pool.map(lambda member: self._sender(member[0], chain).send(member[1]), members))
        self._wait_until_all_have(web3.eth.block_number)

    def _wait_until_all_have(self, block: int) -> None:
        """A block reaches the other validators a moment after the one that was asked."""
        deadline = time.monotonic() + _SYNCHRONISED_SECONDS
        while any(connect([url]).eth.block_number < block for url in self._urls):
            assert time.monotonic() < deadline, f"not every validator has block {block}"
            time.sleep(_POLL_SECONDS)

    def federation(self, *urls: str) -> Federation:
        """A view of the federation through these endpoints, or through all."""
        return Federation(connect(urls or self._urls), self.deployment.address)

    @contextmanager
    def working(self, *, colluding: bool = False) -> Iterator[None]:
        """Run every role until the ``with`` block ends; then raise the error of a role, if any.

        Aggregators that are ``colluding`` sign a wrong model; the owner's watcher is honest.
        """
        kind = Colluder if colluding else Aggregator
        roles = [self._keeper(), self._watcher(), *map(self._party, range(len(self.parties)))]
        roles += [self._aggregator(number, kind) for number in range(len(self.aggregators))]
        stops = [Stop() for _ in roles]
        with ThreadPoolExecutor(len(roles)) as pool:
            running: list[Future[object]] = [
                pool.submit(Service(chain, account, [role], stop).run)
                for (chain, account, role), stop in zip(roles, stops, strict=True)
            ]
            try:
                yield
            finally:
                for stop in stops:
                    stop.request()
        for done in running:
            done.result()

    def recomputed_roots(self, chain: Federation) -> list[bytes]:
        """The root of every accepted model, in order, recomputed from the updates."""
        seen = chain.observe(self.owner.address)
        context = ReadContext(
            federation=chain,
            store=self.store,
            manifest=self.manifest,
            home=self.directory / "recomputed",
            deployed_at=self.deployment.block,
        )
        rounds = context.round_index()
        again = Recomputation(context, rounds)
        accepted = [
            rounds.accepted(chain.model(height).round, seen.block_number)
            for height in range(1, seen.head.height + 1)
        ]
        return [again.compute(found.result).root for found in accepted]

    def _federation_of(self, key: LocalSigner) -> Federation:
        first = self.accounts.index(key) % len(self._urls)
        return self.federation(*self._urls[first:], *self._urls[:first])

    def _sender(self, key: LocalSigner, chain: Federation) -> Sender:
        return Sender(chain.web3, key, chain.reverts)

    def _context(self, key: LocalSigner, chain: Federation, home: str) -> Context:
        return Context(
            federation=chain,
            sender=self._sender(key, chain),
            store=self.store,
            manifest=self.manifest,
            home=self.directory / home,
        )

    def _party(self, number: int) -> tuple[Federation, str, Worker]:
        key = self.parties[number]
        chain = self._federation_of(key)
        context = self._context(key, chain, f"parties/{number}")
        return chain, key.address, Party(context, self._trainers[number], PartySettings(0))

    def _watcher(self) -> tuple[Federation, str, Worker]:
        chain = self._federation_of(self.owner)
        context = self._context(self.owner, chain, "watcher")
        return chain, self.owner.address, Watcher(context, WatcherSettings(secret=bytes(32)))

    def _aggregator(self, number: int, kind: type[Aggregator]) -> tuple[Federation, str, Worker]:
        key = self.aggregators[number]
        chain = self._federation_of(key)
        context = self._context(key, chain, f"aggregators/{number}")
        return chain, key.address, kind(context)

    def _keeper(self) -> tuple[Federation, str, Worker]:
        chain = self._federation_of(self.keeper)
        sender = self._sender(self.keeper, chain)
        return chain, sender.address, Keeper(chain, sender, Mailbox(), self.deployment.block)


def wait_for(
    observe: Callable[[], Observation], done: Callable[[Observation], bool], seconds: float
) -> Observation:
    """Observe the chain until ``done``, and return the observation. Fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not done(seen := observe()):
        assert time.monotonic() < deadline, f"nothing came of it in {seconds} s: {seen}"
        time.sleep(_POLL_SECONDS)
    return seen
