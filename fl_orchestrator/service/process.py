"""What a role's process works with: its chain, key, store and directory, opened in one order."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.nodes.connect import reach
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.chain.types import Observation, Params
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.manifests import manifest_of
from fl_orchestrator.roles.relay import Relay
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.service.lock import account_lock
from fl_orchestrator.service.loop import Service
from fl_orchestrator.service.metered import MeteredStore
from fl_orchestrator.service.metrics import UNHEALTHY_SECONDS, Metrics
from fl_orchestrator.service.stop import Stop
from fl_orchestrator.service.waiting import Waiting
from fl_orchestrator.tracking.by_name import Opener
from fl_orchestrator.tracking.several import Trackers, place_of

NO_TRACKERS: Final[Mapping[str, Opener]] = MappingProxyType({})


class Site(Protocol):
    """How a process opens what it needs. Each method raises what it cannot open."""

    @property
    def rpc(self) -> str:
        """The URLs of the chain's endpoints, separated by commas."""
        ...

    def open_federation(self) -> Federation: ...

    def open_sender(self, chain: Federation, on_receipt: Callable[[Receipt], None]) -> Sender: ...

    def open_store(self) -> ContentStore: ...

    def role_home(self, chain: Federation, address: str) -> Path: ...

    def shared_files(self, chain: Federation) -> Path | None:
        """A directory for files that the roles of this machine have in common, if there is one."""
        ...

    def deployed_at(self, chain: Federation) -> int: ...


@dataclass(frozen=True, slots=True)
class Process:
    """The resources of a role's process. ``home`` is the directory of its account."""

    chain: Federation
    sender: Sender
    open_store: Callable[[], ContentStore]
    home: Path
    cache: Path | None
    deployed_at: int
    metrics: Metrics
    trackers: Trackers
    stop: Stop
    waiting: Waiting
    endpoints: Sequence[Callable[[], Federation]]

    @classmethod
    def open(
        cls,
        role: str,
        site: Site,
        stack: contextlib.ExitStack,
        stop: Stop,
        *,
        strict: bool,
        listen: str = "",
        track: Mapping[str, Opener] = NO_TRACKERS,
    ) -> Process:
        """Open a process in this role, which alone works with its account until ``stack`` closes.

        It waits for what does not answer, unless it is ``strict``. ``listen`` is where metrics are
        served; ``track`` opens trackers by their names. Raises AccountInUse, StoppedWaiting, and
        what the ``site`` raises.
        """

        def chain_and_params() -> tuple[Federation, Params]:
            chain = site.open_federation()
            return chain, chain.params()

        waiting = Waiting(stop, strict)
        chain, periods = waiting.until_had("the chain", chain_and_params)
        # One step trains or aggregates, and is useless if it takes longer than its phase.
        longest_step = max(periods.commit_period, periods.attest_period)
        metrics = Metrics(role, max(UNHEALTHY_SECONDS, longest_step))
        waiting.on_wait = metrics.waits_for
        sender = waiting.until_had("the key", lambda: site.open_sender(chain, metrics.sent))
        home = site.role_home(chain, sender.address)
        stack.enter_context(account_lock(home, sender.address))
        begin = site.deployed_at(chain)
        trackers = Trackers(track, chain, begin, place_of(chain, role, home))
        stack.callback(trackers.close)
        if listen:
            stack.enter_context(metrics.served(listen))

        def store() -> ContentStore:
            opened = waiting.until_had("the store", site.open_store)
            return MeteredStore(opened, metrics.read, metrics.wrote)

        return cls(
            chain,
            sender,
            functools.cache(store),
            home,
            site.shared_files(chain),
            begin,
            metrics,
            trackers,
            stop,
            waiting,
            endpoints(site.rpc, chain),
        )

    @property
    def store(self) -> ContentStore:
        """Opened when it is first needed, and waited for. Raises what opening it raises besides."""
        return self.open_store()

    def manifest(self) -> Manifest:
        """The federation's manifest, waited for. Raises ManifestError and ManifestMismatch."""
        store, chain = self.store, self.chain
        return self.waiting.until_had("the manifest", lambda: manifest_of(store, chain))

    def observe(self) -> Observation:
        """What the chain says of the account now, waited for."""
        address = self.sender.address
        return self.waiting.until_had("the chain", lambda: self.chain.observe(address))

    def context(
        self, manifest: Manifest, *, relay: Relay | None = None, retention: Retention | None = None
    ) -> Context:
        """A role's context with this process's directory. Raises what ``store`` raises."""
        return Context(
            federation=self.chain,
            sender=self.sender,
            store=self.store,
            manifest=manifest,
            home=self.home,
            cache=self.cache,
            deployed_at=self.deployed_at,
            relay=relay,
            retention=retention,
            monitor=self.metrics,
            endpoints=self.endpoints,
        )

    def serve(
        self,
        *workers: Worker,
        finished: Callable[[], bool] = lambda: False,
        once: bool = False,
        timeout: float | None = None,
    ) -> Counter[str]:
        """Give the workers steps until ``finished()`` or a stop; return the count of each action.

        Without ``once`` no outage ends it. ``timeout``: the seconds to wait for a block.
        """
        service = Service(
            self.chain,
            self.sender.address,
            (*workers, self.trackers) if self.trackers else workers,
            self.stop,
            self.metrics,
            retry=not once,
            timeout=timeout if once else None,
        )
        return service.run(finished)


def endpoints(rpc: str, chain: Federation) -> list[Callable[[], Federation]]:
    """Opens the same federation at each RPC endpoint by itself; ``rpc`` has commas between them."""

    def opened(url: str) -> Federation:
        return open_federation(reach([url], chain.chain_id), chain.address)

    urls = dict.fromkeys(url.strip() for url in rpc.split(","))
    return [functools.partial(opened, url) for url in urls]
