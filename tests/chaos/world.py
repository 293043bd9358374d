"""A federation of real processes that a test can kill, disconnect and disturb; it restarts them."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.private_federation import packed_manifest
from support.processes import Deployed, deployed, small_model, unhurried

from chaos.locks import Overheard
from chaos.servers import Servers, servers
from chaos.store import Store, free_port
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.masked.terms import PrivateTerms, for_private
from fl_orchestrator.service.local.children import Child, stop_all
from fl_orchestrator.service.local.federation import Member, Plan

_TICK_SECONDS = 0.05
_RESTART_SECONDS = 1.0
# The exit codes of a process that was killed, stopped, or started during an outage.
_EXPECTED_EXITS = {0, 3, 4, -signal.SIGKILL}


class Stuck(AssertionError):
    """The federation makes no progress."""


class World:
    """All processes. Each has its own proxies to its servers, and is restarted when it has ended.

    Every second party sends through the keeper's relay, which is at ``relay_port``, and so do all
    aggregators of a private federation. ``store`` is None if the content store is a directory.
    ``overheard`` is what these aggregators told each other; None in a plain federation.
    """

    def __init__(
        self,
        federation: Deployed,
        servers: dict[str, Servers],
        relay_port: int,
        manifest: Manifest,
        store: Store | None,
    ) -> None:
        self.federation = federation
        self.servers = servers
        self.manifest = manifest
        self.store = store
        self.began = time.monotonic()
        self._relay_port = relay_port
        chain = federation.chain
        self.overheard: Overheard | None = None
        if isinstance(chain, PrivateFederation):
            self.overheard = Overheard(chain, f"http://127.0.0.1:{relay_port}")
        self.children = {m.name: self._child(m) for m in federation.local.members()}
        self.restarts = 0
        self.unexpected: list[str] = []
        self._restart_at: dict[str, float] = {}
        self._stopped: set[str] = set()

    def _child(self, member: Member) -> Child:
        environment = self.servers[member.name].environment
        private_seat = self.overheard is not None and member.role == "aggregator"
        if private_seat or (member.role == "party" and member.number % 2):
            environment["FLO_RELAY"] = self.servers[member.name].relay.url
        relay = f"127.0.0.1:{self._relay_port}"
        options = ("--relay", relay) if member.role == "keeper" else ()
        return member.child(*options, environment=environment)

    @property
    def names(self) -> list[str]:
        return list(self.children)

    def start(self) -> None:
        for child in self.children.values():
            child.start()

    def stop(self, names: Sequence[str] = ()) -> None:
        """Stop processes cleanly, all of them by default, and do not start them again."""
        chosen = [self.children[name] for name in names or self.children]
        self._stopped |= {child.name for child in chosen}
        stop_all(chosen)

    def observe(self) -> Observation:
        """Observe the chain as the keeper, but directly, so that no fault disturbs it."""
        return self.federation.observe()

    def rpc(self, method: str, *parameters: Any) -> Any:
        provider: Any = self.federation.chain.web3.provider
        answer = provider.make_request(method, list(parameters))
        assert "error" not in answer, answer
        return answer["result"]

    def tick(self) -> None:
        """Act as a service manager: restart the processes that have ended."""
        time.sleep(_TICK_SECONDS)
        now = time.monotonic()
        if self.overheard is not None:
            self.overheard.listen(now)
        for name, child in self.children.items():
            if child.runs or name in self._stopped:
                continue
            if name not in self._restart_at:
                self._restart_at[name] = now + _RESTART_SECONDS
                if child.exit_code not in _EXPECTED_EXITS:
                    self.unexpected.append(f"{name} ended with {child.exit_code}: {child.tail()}")
            elif now >= self._restart_at[name]:
                del self._restart_at[name]
                self.restarts += 1
                child.start()

    def wait(self, until: Callable[[Observation], bool], seconds: float, what: str) -> Observation:
        """Wait until an observation meets a condition. Raises Stuck after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not until(seen := self.observe()):
            if time.monotonic() > deadline:
                raise Stuck(
                    f"no {what} within {seconds:.0f} s: round {seen.current.round} is "
                    f"{seen.current.phase.name}, {seen.current.commits} commits, "
                    f"{seen.current.reveals} reveals\n{self.tails()}"
                )
            self.tick()
        return seen

    def hold(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.tick()

    def wait_for_rounds(self, rounds: int, seconds: float) -> None:
        """Wait until ``rounds`` more rounds were accepted."""
        height = self.observe().head.height + rounds
        self.wait(lambda seen: seen.head.height >= height, seconds, f"{rounds} more rounds")

    def end(self, seconds: float) -> Observation:
        """Stop all processes after a round has ended, before another one is opened."""
        open_phases = (Phase.COMMIT, Phase.REVEAL)
        self.wait(lambda seen: seen.current.phase in open_phases, seconds, "open round")
        self.stop(["keeper-0"])
        ended = (Phase.ACCEPTED, Phase.VOID)
        # What the keeper had taken and not sent, its author sends after half of the phase.
        seen = self.wait(lambda seen: seen.current.phase in ended, 3 * seconds, "end of the round")
        # Give slower aggregators time to sign, and the watcher time to check the round.
        self.hold(5)
        self.stop()
        return seen

    def tails(self) -> str:
        return "\n".join(f"== {c.name} ==\n{c.tail()[-600:]}" for c in self.children.values())


@contextmanager
def world(directory: Path, anvil: Path, plan: Plan, kubo: Path | None = None) -> Iterator[World]:
    """Run a world until the ``with`` block ends, with a Kubo node if ``kubo`` is given."""
    model, terms, private = small_model(plan.parties), unhurried(plan.parties), None
    if plan.private:
        private = PrivateTerms(claim_period=terms.attest_period)
        model = dataclasses.replace(model, manifest=packed_manifest())
        terms = for_private(terms, private)
    with ExitStack() as stack:
        store = stack.enter_context(Store.running(kubo, directory / "ipfs")) if kubo else None
        urls = [store.url] if store else []
        federation = stack.enter_context(
            deployed(
                directory / "federation", anvil, plan, model, terms, stores=urls, private=private
            )
        )
        rpc_port, relay_port = int(federation.rpc.rpartition(":")[2]), free_port()
        store_port = store.port if store else None
        before = {
            member.name: stack.enter_context(servers(rpc_port, relay_port, store_port))
            for member in federation.local.members()
        }
        made = World(federation, before, relay_port, model.manifest, store)
        made.start()
        try:
            yield made
        finally:
            for child in made.children.values():
                child.kill()
