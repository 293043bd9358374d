"""The loop of a process: gives its roles steps as blocks arrive, and retries after outages.

A role is correct without it, and may be killed at any moment. The loop only decides when to read
the chain again, so that an idle process sends few requests.
"""

from __future__ import annotations

import errno
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from web3.exceptions import Web3Exception

from fl_orchestrator.chain.contract.federation import Federation, NoFederation
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.nodes.connect import WrongChain
from fl_orchestrator.chain.sending.budget import BudgetExceeded, UnusableBudget
from fl_orchestrator.chain.sending.send import InsufficientFunds
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.content.store import StoreFull
from fl_orchestrator.errors import ChainError, ContentError, FloError, VerificationError
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.hooks import HookFailed
from fl_orchestrator.roles.party.journal import DamagedJournal
from fl_orchestrator.roles.party.submission import MustSitOut
from fl_orchestrator.service.metrics import Metrics
from fl_orchestrator.service.pace import Pace, ProcessSchedule
from fl_orchestrator.service.stop import Stop

_log = get_logger(__name__)

#: Errors to retry: they end when a node, a store or a peer is available again. The errors of
#: `requests` are OSErrors.
PASSING: Final = (
    *(ChainError, ContentError, VerificationError, UnusableBudget, HookFailed),
    *(MustSitOut, OSError, Web3Exception),
)
# Errors that a retry cannot fix: somebody has to change something on this site.
_LASTING: Final = (WrongChain, NoFederation, DamagedJournal)
_NO_COIN: Final = (InsufficientFunds, BudgetExceeded)
_NO_COIN_SECONDS: Final = 60.0
# A file system that is full or read-only: waited for, and an error, because somebody has to act.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_ROOM_HINT: Final = (
    "This role cannot write below its home: free some space there, or make it writable."
)


class NoBlock(ChainError):
    """The chain has mined no block within the timeout."""


@dataclass(slots=True)
class _Member:
    """A worker of this process."""

    schedule: ProcessSchedule
    rests: bool = False
    refusal: str = ""


class Service:
    """The roles of one account in one process, which share their view of the chain.

    With ``retry`` no outage ends `run`; without it the first one does. ``timeout`` is the longest
    time, in seconds, to wait for a block.
    """

    def __init__(
        self,
        chain: Federation,
        account: str,
        workers: Sequence[Worker],
        stop: Stop,
        metrics: Metrics | None = None,
        *,
        retry: bool = True,
        timeout: float | None = None,
        now: Callable[[], float] = time.monotonic,
        generator: random.Random | None = None,
    ) -> None:
        self._chain = chain
        self._account = account
        self._pace = Pace()
        schedules = (ProcessSchedule(worker, self._pace, now, generator) for worker in workers)
        self._members = [_Member(schedule) for schedule in schedules]
        self._stop = stop
        self._metrics = metrics or Metrics("service")
        self._retry = retry
        self._timeout = timeout
        self._now = now
        self._block = -1
        self._block_at = self._now()
        self.done: Counter[str] = Counter()

    def run(self, finished: Callable[[], bool] = lambda: False) -> Counter[str]:
        """Give steps until a stop is requested, or until all roles are idle and ``finished()``.

        Returns how often each action was done. Raises errors that a retry cannot fix, any error
        without ``retry``, and NoBlock after the ``timeout``.
        """
        while not self._stop.requested:
            for member in self._members:
                if self._now() >= member.schedule.next_at and not self._stop.requested:
                    self._give_turn(member)
            if all(member.rests for member in self._members) and finished():
                break
            self._require_blocks()
            next_at = min(member.schedule.next_at for member in self._members)
            self._stop.sleep(next_at - self._now())
        return self.done

    def _give_turn(self, member: _Member) -> None:
        """Give a worker steps, if it is due, until it has nothing to do or fails."""
        began, member.rests = self._now(), False
        try:
            seen = self._act(member)
        except PASSING as error:
            # A node that served this chain before may do so again.
            returns = isinstance(error, WrongChain) and self._block >= 0
            if isinstance(error, _LASTING) and not returns:
                raise
            self._learn()
            self._failed(member, error)
            return
        if self._stop.requested:
            return
        self._learn()
        self._metrics.stepped()
        member.schedule.rest(seen, began)
        member.rests, member.refusal = True, ""

    def _act(self, member: _Member) -> Observation | None:
        """Give a worker steps while it is due; return the observation, if one was necessary."""
        schedule, seen = member.schedule, None
        while not self._stop.requested:
            # Whoever is due in any case looks by itself.
            if not schedule.wait.any_time:
                seen = self._chain.observe(self._account)
                if not schedule.is_due(seen):
                    break
            step = schedule.ask(seen)
            if step.action is None:
                break
            self.done[step.action] += 1
            self._metrics.acted(step.action)
            member.refusal = ""
            self._learn()
            _log.info("did", action=step.action)
        return seen

    def _learn(self) -> None:
        """Update the pace and the metrics from the last observation."""
        seen = self._chain.last_seen
        if seen is None:
            return
        if seen.block_number != self._block:
            self._block, self._block_at = seen.block_number, self._now()
            self._pace.saw(seen.block_number, seen.timestamp)
        self._metrics.saw(seen)

    def _failed(self, member: _Member, error: Exception) -> None:
        self._metrics.failed(error)
        if not self._retry:
            raise error
        delay = member.schedule.retry(self._known_delay(error))
        reason = (
            error.for_log if isinstance(error, FloError) else f"{type(error).__name__}: {error}"
        )
        no_room = isinstance(error, StoreFull)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            # The operating system does not say which file system it is.
            reason = f"{reason}. {_ROOM_HINT}"
            no_room = True
        details = {"role": type(member.schedule.worker).__name__, "error": type(error).__name__}
        if reason != member.refusal:
            serious = no_room or isinstance(error, (*_NO_COIN, MustSitOut))
            log = _log.error if serious else _log.warning
            log("failed", reason=reason, retry_in=round(delay, 1), **details)
        member.refusal = reason

    def _known_delay(self, error: Exception) -> float | None:
        """Seconds until a retry may succeed, or None if that is unknown.

        A contract may accept in the next block what it refuses now.
        """
        if isinstance(error, ContractReverted):
            return self._pace.seconds
        if isinstance(error, _NO_COIN):
            return _NO_COIN_SECONDS
        return None

    def _require_blocks(self) -> None:
        if self._timeout is not None and self._now() - self._block_at > self._timeout:
            raise NoBlock(
                f"The chain mined no block within {self._timeout:.0f} s.",
                "Run the command again to continue; nothing is lost.",
            )
