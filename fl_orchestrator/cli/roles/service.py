"""What the commands share that run as a service until they are stopped."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import print_json, say
from fl_orchestrator.cli.site import (
    Endpoint,
    LogFormatOption,
    LogLevelOption,
    MetricsOption,
    Site,
    deployed_at,
)

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.sending.send import Sender
    from fl_orchestrator.chain.types import Observation, Params
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.roles.base import Worker
    from fl_orchestrator.roles.context import Context
    from fl_orchestrator.roles.relay import Relay
    from fl_orchestrator.roles.retention import Retention
    from fl_orchestrator.service.metrics import Metrics
    from fl_orchestrator.service.stop import Stop
    from fl_orchestrator.service.waiting import Waiting

OnceOption = Annotated[bool, typer.Option("--once", help="Do the work that is due now, then stop.")]
BlockTimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout", min=0, metavar="SECONDS", help="With --once: how long to wait for a block."
    ),
]
SAFE_TO_STOP: Final = "Nothing is lost: run the same command again to continue."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSite(Site):
    """The options of a command that runs until it is stopped."""

    metrics: MetricsOption = ""
    log_format: LogFormatOption = "text"
    log_level: LogLevelOption = "info"

    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="End at once, if chain, store or manifest cannot be had at the start."
        ),
    ] = False

    @contextlib.contextmanager
    def running(self, role: str, *, once: bool = False) -> Iterator[Process]:
        """A process in this role, which alone works with its account meanwhile.

        It waits for a chain that does not answer, unless it is ``strict`` or to run ``once``.
        Raises AccountInUse, and whatever opening the federation and the key raises besides.
        """
        from fl_orchestrator.service.stop import stop_on_signals
        from fl_orchestrator.service.waiting import StoppedWaiting, Waiting

        with contextlib.ExitStack() as stack:
            waiting = Waiting(stop := stack.enter_context(stop_on_signals()), self.strict or once)
            try:
                yield self._process(role, stack, stop, waiting)
            except StoppedWaiting:
                raise typer.Exit(0) from None

    def _process(
        self, role: str, stack: contextlib.ExitStack, stop: Stop, waiting: Waiting
    ) -> Process:
        from fl_orchestrator.cli.logs import log
        from fl_orchestrator.service.lock import account_lock
        from fl_orchestrator.service.metered import MeteredStore
        from fl_orchestrator.service.metrics import UNHEALTHY_SECONDS, Metrics

        log(self.log_level, self.log_format)
        chain, periods = waiting.until_had("the chain", self._chain_and_params)
        # One step trains or aggregates, and is useless if it takes longer than its phase.
        longest_step = max(periods.commit_period, periods.attest_period)
        metrics = Metrics(role, max(UNHEALTHY_SECONDS, longest_step))
        waiting.on_wait = metrics.waits_for
        sender = waiting.until_had("the key", lambda: self.open_sender(chain, metrics.sent))
        home = self.role_home(chain, sender.address)
        stack.enter_context(account_lock(home, sender.address))
        if self.metrics:
            stack.enter_context(metrics.served(self.metrics))

        def store() -> ContentStore:
            opened = waiting.until_had("the store", self.open_store)
            return MeteredStore(opened, metrics.read, metrics.wrote)

        return Process(
            chain,
            sender,
            functools.cache(store),
            home,
            deployed_at(chain, self.deployments),
            metrics,
            stop,
            waiting,
            endpoints(self, chain),
        )

    def _chain_and_params(self) -> tuple[Federation, Params]:
        chain = self.open_federation()
        return chain, chain.params()


def endpoints(site: Endpoint, chain: Federation) -> list[Callable[[], Federation]]:
    """Opens the same federation at each RPC endpoint by itself."""
    from fl_orchestrator.chain.contract.private import open_federation
    from fl_orchestrator.chain.nodes.connect import connect

    def opened(url: str) -> Federation:
        return open_federation(connect([url], chain.chain_id), chain.address)

    urls = dict.fromkeys(url.strip() for url in site.rpc.split(","))
    return [functools.partial(opened, url) for url in urls]


@dataclass(frozen=True, slots=True)
class Process:
    """The resources of a role's process. ``home`` is the directory of its account."""

    chain: Federation
    sender: Sender
    open_store: Callable[[], ContentStore]
    home: Path
    deployed_at: int
    metrics: Metrics
    stop: Stop
    waiting: Waiting
    endpoints: Sequence[Callable[[], Federation]]

    @property
    def store(self) -> ContentStore:
        """Opened when it is first needed, and waited for. Raises what opening it raises besides."""
        return self.open_store()

    def manifest(self) -> Manifest:
        """The federation's manifest, waited for. Raises ManifestError and ManifestMismatch."""
        from fl_orchestrator.roles.manifests import manifest_of

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
        from fl_orchestrator.roles.context import Context

        return Context(
            federation=self.chain,
            sender=self.sender,
            store=self.store,
            manifest=manifest,
            home=self.home,
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
        """Give the workers steps until ``finished()`` or a signal; return the count of each action.

        Without ``once`` no outage ends it. ``timeout``: the seconds to wait for a block.
        """
        from fl_orchestrator.service.loop import Service

        service = Service(
            self.chain,
            self.sender.address,
            workers,
            self.stop,
            self.metrics,
            retry=not once,
            timeout=timeout if once else None,
        )
        return service.run(finished)


def show_done(done: Counter[str], json_output: bool) -> None:
    """Say what a process did until it was stopped."""
    if json_output:
        print_json({"done": dict(done)})
        return
    actions = ", ".join(f"{action} {count}" for action, count in sorted(done.items()))
    say(f"Stopped. Done: {actions or 'nothing'}.")
