"""What the commands share that run as a service until they are stopped."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import print_json, say
from fl_orchestrator.cli.site import (
    LogFormatOption,
    LogLevelOption,
    MetricsOption,
    Site,
    deployed_at,
)

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.sending.send import Sender
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.roles.base import Worker
    from fl_orchestrator.roles.context import Context
    from fl_orchestrator.roles.relay import Relay
    from fl_orchestrator.roles.retention import Retention
    from fl_orchestrator.service.metrics import Metrics
    from fl_orchestrator.service.stop import Stop

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

    @contextlib.contextmanager
    def running(self, role: str) -> Iterator[Process]:
        """Open a process in this role, which holds the lock of its account meanwhile.

        Raises AccountInUse, and the errors of opening the federation and the key.
        """
        from fl_orchestrator.cli.logs import log
        from fl_orchestrator.service.lock import account_lock
        from fl_orchestrator.service.metered import MeteredStore
        from fl_orchestrator.service.metrics import UNHEALTHY_SECONDS, Metrics
        from fl_orchestrator.service.stop import stop_on_signals

        log(self.log_level, self.log_format)
        chain = self.open_federation()
        periods = chain.params()
        # One step trains or aggregates, and is useless if it takes longer than its phase.
        longest_step = max(periods.commit_period, periods.attest_period)
        metrics = Metrics(role, max(UNHEALTHY_SECONDS, longest_step))
        sender = self.open_sender(chain, metrics.sent)
        home = self.role_home(chain, sender.address)
        with contextlib.ExitStack() as stack:
            stack.enter_context(account_lock(home, sender.address))
            if self.metrics:
                stack.enter_context(metrics.served(self.metrics))
            yield Process(
                chain,
                sender,
                functools.cache(
                    lambda: MeteredStore(self.open_store(), metrics.read, metrics.wrote)
                ),
                home,
                deployed_at(chain, self.deployments),
                metrics,
                stack.enter_context(stop_on_signals()),
            )


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

    @property
    def store(self) -> ContentStore:
        """The store, opened at its first use. Raises the errors of opening it."""
        return self.open_store()

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
