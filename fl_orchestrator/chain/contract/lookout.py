"""One look at a federation for many accounts: what they have in common is read once in a block.

An account's own part is read only if something of its own has changed in a way that its events do
not tell (`Standing`). Blocks are told apart by their hashes, so a reorganisation, or another node
of a load balancer, discards what was known. Nothing that is returned is older than the latest
block at the time of the call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from fl_orchestrator.chain.contract.logs import LoggedEvent
from fl_orchestrator.chain.contract.standing import Rules, Standing
from fl_orchestrator.chain.types import Observation, Params

#: The events after which an account's part of an observation is another, and the argument that
#: names the account. `SeedBlockNamed` begins a round, in which stakes that changed before count.
ACCOUNT_OF: Final = {
    "Admitted": "account",
    "Claimed": "aggregator",
    "Committed": "party",
    "Credited": "account",
    "Deposited": "account",
    "DuplicateUpdate": "party",
    "MarkedAbsent": "party",
    "MarkedPresent": "party",
    "Registered": "account",
    "Removed": "account",
    "RewardsWithdrawn": "account",
    "Slashed": "account",
    "UnbondRequested": "account",
    "UpdateRevealed": "party",
    "Withdrawn": "account",
}
NEW_ROUND: Final = "SeedBlockNamed"

# A process that has missed more blocks reads the accounts again.
_MOST_BLOCKS: Final = 16
# Anybody can ask a relay about any number of accounts. More than these are read again.
_MOST_ACCOUNTS: Final = 1 << 15
# A chain that moves on while it is read is looked at so often before a single account is read.
_LOOKS: Final = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A block: its number, its hash, that of its parent, and whether it may have events."""

    number: int
    hash: bytes
    parent: bytes
    has_events: bool = True


class Watched(Protocol):
    """What a lookout needs of a federation."""

    def params(self) -> Params: ...

    def latest(self) -> Place:
        """The latest block."""
        ...

    def place(self, block: int | bytes) -> Place | None:
        """The block with this number or hash; None if the node has none."""
        ...

    def events_in(self, place: Place) -> list[LoggedEvent]:
        """The events in a block of which `ACCOUNT_OF` and `NEW_ROUND` have the names."""
        ...

    def read_observation(self, account: str) -> Observation:
        """What the contract says of an account, at the latest block."""
        ...


class Lookout:
    """Observations of many accounts of one federation; safe to use from several threads.

    With ``since``, the block of its deployment, all events are read from there on, so that accounts
    need not be read at all until something happens that events do not tell: for a chain in the same
    process.
    """

    def __init__(self, federation: Watched, since: int | None = None) -> None:
        self._federation = federation
        self._rules = Rules.of(federation.params())
        self._lock = threading.RLock()
        self._place: Place | None = None
        # Those of an account that has to be read again are None.
        self._standings: dict[str, Standing | None] = {}
        self._complete = False
        self._common: Observation | None = None
        self._round: int | None = None
        if since is not None:
            self._begin_before(since)

    def observe(self, account: str) -> Observation:
        """Everything that a role of this account needs to decide, at the latest block.

        Raises what the federation's requests raise.
        """
        with self._lock:
            for _ in range(_LOOKS):
                seen = self._look(account)
                if seen is not None:
                    return seen
            # Each look came too late, but what is read now is true.
            return self._federation.read_observation(account)

    # ------------------------------------------------------------------ one look

    def _look(self, account: str) -> Observation | None:
        """The observation at the latest block; None if the chain moved on meanwhile."""
        latest = self._federation.latest()
        if self._place is None or latest.hash != self._place.hash:
            self._undivided(lambda: self._advance(latest))
        name = account.lower()
        if self._common is not None:
            standing = self._standing(name)
            if standing is not None:
                seen = standing.seen_with(self._common, account, self._rules)
                if seen is not None:
                    return seen
        return self._read(latest, account, name)

    def _standing(self, name: str) -> Standing | None:
        if self._complete and name not in self._standings:
            self._standings[name] = self._rules.newborn()
        return self._standings.get(name)

    def _read(self, latest: Place, account: str, name: str) -> Observation | None:
        seen = self._federation.read_observation(account)
        if seen.block_number != latest.number or self._federation.latest().hash != latest.hash:
            return None
        if len(self._standings) >= _MOST_ACCOUNTS:
            self._forget()
        self._common, self._round = seen, seen.current.round
        self._standings[name] = Standing.of(seen)
        return seen

    # ------------------------------------------------------------------ from block to block

    def _begin_before(self, block: int) -> None:
        first = self._federation.place(block)
        before = self._federation.place(block - 1)
        if first is not None and before is not None and first.parent == before.hash:
            self._place, self._complete, self._round = before, True, 0

    def _undivided(self, change: Callable[[], None]) -> None:
        """Make a change; if it fails half way, nothing is known."""
        try:
            change()
        except BaseException:
            self._forget()
            self._place = None
            raise

    def _advance(self, latest: Place) -> None:
        """Take in the events of the blocks up to the latest one."""
        self._common = None
        new = self._new_blocks(latest)
        if new is None:
            self._forget()
        else:
            for place in new:
                if place.has_events:
                    self._take(self._federation.events_in(place))
        self._place = latest

    def _new_blocks(self, latest: Place) -> list[Place] | None:
        """The blocks after the last one, in their order; None if they do not follow it."""
        last = self._place
        if last is None:
            return None
        found = [latest]
        while found[-1].number > last.number + 1:
            if len(found) == _MOST_BLOCKS and not self._complete:
                return None
            parent = self._federation.place(found[-1].parent)
            if parent is None or parent.number != found[-1].number - 1:
                return None
            found.append(parent)
        follows = (found[-1].number, found[-1].parent) == (last.number + 1, last.hash)
        return found[::-1] if follows else None

    def _forget(self) -> None:
        self._standings.clear()
        self._complete, self._common, self._round = False, None, None

    def _take(self, events: list[LoggedEvent]) -> None:
        for event in events:
            if event.name == NEW_ROUND:
                self._round = event.values["round"]
                continue
            name = event.values[ACCOUNT_OF[event.name]].lower()
            standing = self._standing(name)
            if standing is not None:
                self._standings[name] = self._after(standing, event)

    def _after(self, standing: Standing, event: LoggedEvent) -> Standing | None:
        if self._round is None:
            return None
        return standing.after(event.name, event.values, self._round)
