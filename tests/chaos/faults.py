"""The faults. Each is a function of the world, the target process, and the duration in seconds."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from support.hostile_server import Front
from support.rpc_proxy import Mode

from chaos.flood import demand_flood
from chaos.servers import Servers
from chaos.world import World
from fl_orchestrator.chain.types import Observation, Phase, PrivateObservation
from fl_orchestrator.service.local.federation import Plan

EVERYBODY: Final = "everybody"
_SECONDS: Final = 240.0
# The file size limit that simulates a full disk: no file can grow beyond it.
_FULL_BYTES: Final = 64
_SKEW_SECONDS: Final = 60

# Sets the clock of one process a minute ahead, before anything else is imported.
_SKEWED: Final = f"""
import time
_real = time.time
time.time = lambda: _real() + {_SKEW_SECONDS}
import sys
from fl_orchestrator.cli.main import main
sys.argv = ["flo", *sys.argv[1:]]
main()
"""


class Fault(Protocol):
    def __call__(self, world: World, target: str, seconds: float) -> None: ...


def targets(world: World, target: str) -> list[str]:
    return world.names if target == EVERYBODY else [target]


def kill(world: World, target: str, seconds: float) -> None:
    """Kill the process (SIGKILL); the service manager restarts it."""
    for name in targets(world, target):
        world.children[name].kill()


def freeze(world: World, target: str, seconds: float) -> None:
    """Send SIGSTOP, and later SIGCONT, like a machine that swaps or a paused container."""
    stopped = [world.children[name] for name in targets(world, target)]
    for child in stopped:
        child.signal(signal.SIGSTOP)
    try:
        world.hold(seconds)
    finally:
        for child in stopped:
            child.signal(signal.SIGCONT)


def endpoint(mode: Mode) -> Fault:
    """The RPC endpoint drops connections, refuses requests, is slow, returns garbage, or drips."""

    def fault(world: World, target: str, seconds: float) -> None:
        proxies = [world.servers[name].rpc for name in targets(world, target)]
        for proxy in proxies:
            proxy.mode = mode
        try:
            world.hold(seconds)
        finally:
            for proxy in proxies:
                proxy.mode = "pass"

    return fault


def front_drips(which: Callable[[Servers], Front | None]) -> Fault:
    """A server holds who sends it a request, for ``seconds`` and until it has held somebody.

    Whom it holds, it holds until they give up, also when it serves others again.
    """

    def fault(world: World, target: str, seconds: float) -> None:
        chosen = [which(world.servers[name]) for name in targets(world, target)]
        fronts = [front for front in chosen if front is not None]
        before = sum(front.drip.held for front in fronts)
        for front in fronts:
            front.drips = True
        try:
            world.hold(seconds)
            world.wait(
                lambda _: sum(front.drip.held for front in fronts) > before,
                _SECONDS,
                "request to the server that drips",
            )
        finally:
            for front in fronts:
                front.drips = False

    return fault


def store_down(world: World, target: str, seconds: float) -> None:
    """The IPFS node is killed, and restarted later."""
    assert world.store is not None, "there is no IPFS node in this world"
    world.store.kill()
    try:
        world.hold(seconds)
    finally:
        world.store.start()


def disk_full(world: World, target: str, seconds: float) -> None:
    """No file of this process can grow, its log included."""
    process = world.children[target].pid
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (_FULL_BYTES, before[1]))
    world.hold(seconds)
    if world.children[target].runs and world.children[target].pid == process:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)


def chain_ahead(world: World, target: str, seconds: float) -> None:
    """From now on, the clock of the block producer is a minute ahead."""
    world.rpc("evm_increaseTime", _SKEW_SECONDS)
    world.hold(seconds)


def clock_ahead(world: World, target: str, seconds: float) -> None:
    """For a while, the process runs on a machine whose clock is a minute ahead."""
    child = world.children[target]
    right = child.command
    child.kill()
    child.command = [sys.executable, "-c", _SKEWED, *right[3:]]
    world.hold(seconds)
    child.kill()
    child.command = right


def reorganise(event: str, undone: Callable[[Observation, Observation], bool]) -> Fault:
    """A reorg replaces the chain from the block of the next such event on.

    ``undone`` tells from the observations before and after whether the event was removed.
    """

    def fault(world: World, target: str, seconds: float) -> None:
        chain = world.federation.chain
        found: list[Any] = []
        first = world.observe().block_number + 1

        def happened(seen: Observation) -> bool:
            if seen.block_number >= first:
                found[:] = chain._events(event, first, seen.block_number, None)
            return bool(found)

        before = world.wait(happened, _SECONDS, event)
        depth = before.block_number - found[0]["blockNumber"] + 1
        # Go one block deeper, because a block may have been mined in between.
        world.rpc("anvil_reorg", depth + 1, [])
        after = world.observe()
        assert undone(before, after), f"{event} is still there: {before.current}, {after.current}"

    return fault


def _commits_fewer(before: Observation, after: Observation) -> bool:
    return _earlier(before, after) or after.current.commits < before.current.commits


def _reveals_fewer(before: Observation, after: Observation) -> bool:
    return _earlier(before, after) or after.current.opened < before.current.opened


def _claims_fewer(before: Observation, after: Observation) -> bool:
    assert isinstance(before, PrivateObservation)
    assert isinstance(after, PrivateObservation)
    claimed, left = (seen.claims.claimed_seats.bit_count() for seen in (before, after))
    return _earlier(before, after) or left < claimed


def _attests_again(before: Observation, after: Observation) -> bool:
    # Before acceptance, no view function returns the signers.
    return _earlier(before, after) or after.current.phase is Phase.ATTEST


def _head_lower(before: Observation, after: Observation) -> bool:
    return after.head.height < before.head.height


def _earlier(before: Observation, after: Observation) -> bool:
    """Whether the round is in an earlier phase."""
    order = (
        Phase.IDLE,
        Phase.SEEDING,
        Phase.COMMIT,
        Phase.REVEAL,
        Phase.CLAIM,
        Phase.ATTEST,
        Phase.ACCEPTED,
    )
    now, then = after.current, before.current
    return (now.round, order.index(now.phase)) < (then.round, order.index(then.phase))


FAULTS: Final[dict[str, Fault]] = {
    "killed": kill,
    "frozen": freeze,
    "RPC drops connections": endpoint("drop"),
    "RPC refuses (503)": endpoint("refuse"),
    "RPC is slow": endpoint("delay"),
    "RPC answers garbage": endpoint("garbage"),
    "RPC drips": endpoint("drip"),
    "relay drips": front_drips(lambda servers: servers.relay),
    "IPFS node drips": front_drips(lambda servers: servers.store),
    "IPFS node killed": store_down,
    "disk full": disk_full,
    "chain's clock + 60 s": chain_ahead,
    "own clock + 60 s": clock_ahead,
    "reorg drops a commit": reorganise("Committed", _commits_fewer),
    "reorg drops a reveal": reorganise("UpdateRevealed", _reveals_fewer),
    "reorg drops an attestation": reorganise("Attested", _attests_again),
    "reorg drops an acceptance": reorganise("RoundAccepted", _head_lower),
    "flood of demands": demand_flood,
    "reorg drops a claim": reorganise("Claimed", _claims_fewer),
}
# A plain federation has no claims.
_PRIVATE: Final = frozenset({"reorg drops a claim"})


def faults_of(shape: Plan) -> list[str]:
    """The faults that there are for a federation like this."""
    return [name for name in FAULTS if shape.private or name not in _PRIVATE]
