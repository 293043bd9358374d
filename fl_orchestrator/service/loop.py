"""Gives roles steps at the pace of blocks, through every outage, until they are asked to stop.

Nothing here is needed for a role to be right: it may be killed at any moment. It decides when to
look at the chain again, so that waiting costs next to nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from web3.exceptions import Web3Exception

from fl_orchestrator.chain.contract.federation import Federation, NoFederation
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.nodes.connect import WrongChain
from fl_orchestrator.chain.sending.budget import BudgetExceeded, UnusableBudget
from fl_orchestrator.chain.sending.send import InsufficientFunds
from fl_orchestrator.errors import ChainError, ContentError, FloError, VerificationError
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.hooks import HookFailed
from fl_orchestrator.roles.party.journal import DamagedJournal
from fl_orchestrator.service.metrics import Metrics
from fl_orchestrator.service.pace import BackOff, Pace
from fl_orchestrator.service.stop import Stop

_log = structlog.get_logger(__name__)

# What ends by itself, when a node, a store or a peer comes back: requests' errors are OSErrors.
_PASSING: Final = (
    *(ChainError, ContentError, VerificationError, UnusableBudget, HookFailed),
    *(OSError, Web3Exception),
)
# What does not: somebody has to change something at this site.
_LASTING: Final = (WrongChain, NoFederation, DamagedJournal)
_NO_COIN: Final = (InsufficientFunds, BudgetExceeded)
_NO_COIN_SECONDS: Final = 60.0

#: After how many blocks a role looks for events, which takes several requests.
EVENTS_EVERY: Final = 8
#: And one that mostly waits looks again at what it did, which a reorganisation may have dropped.
CHECK_EVERY: Final = 8


class NoBlock(ChainError):
    """The chain has mined no block for too long."""


@dataclass(slots=True)
class Duty:
    """A role of this process, and after how many blocks it is to be asked again.

    Those that wait for events, which take requests to find, need not look at every block.
    """

    role: Worker
    every: int = 1
    back_off: BackOff = field(default_factory=BackOff)
    next_at: float = 0.0
    rests: bool = False
    refusal: str = ""

    def succeeded(self) -> None:
        self.back_off.reset()
        self.refusal = ""


class Service:
    """The roles of one process, over one view of the chain.

    With ``retry`` no outage ends `run`; without it the first one does. ``timeout`` is how many
    seconds the chain may take for a block.
    """

    def __init__(
        self,
        chain: Federation,
        duties: Sequence[Duty | Worker],
        stop: Stop,
        metrics: Metrics | None = None,
        *,
        retry: bool = True,
        timeout: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._duties = [duty if isinstance(duty, Duty) else Duty(duty) for duty in duties]
        self._stop = stop
        self._metrics = metrics or Metrics("service")
        self._retry = retry
        self._timeout = timeout
        self._now = now
        self._pace = Pace()
        self._block = -1
        self._block_at = self._now()
        self.done: Counter[str] = Counter()

    def run(self, finished: Callable[[], bool] = lambda: False) -> Counter[str]:
        """Give steps until the end is requested, or all rest and it is ``finished``; what was done.

        Raises whatever does not pass by itself, and NoBlock where there is a ``timeout``.
        """
        while not self._stop.requested:
            for duty in self._duties:
                if self._now() >= duty.next_at and not self._stop.requested:
                    self._give_turn(duty)
            if all(duty.rests for duty in self._duties) and finished():
                break
            self._require_blocks()
            next_at = min(duty.next_at for duty in self._duties)
            self._stop.sleep(next_at - self._now())
        return self.done

    def _give_turn(self, duty: Duty) -> None:
        """Give a role steps until it rests or fails."""
        began, duty.rests = self._now(), False
        try:
            while (action := duty.role.step().action) is not None:
                self.done[action] += 1
                self._metrics.acted(action)
                duty.succeeded()
                self._look()
                _log.info("did", action=action)
                if self._stop.requested:
                    return
        except _LASTING:
            raise
        except _PASSING as error:
            self._look()
            self._failed(duty, error)
            return
        self._look()
        self._metrics.stepped()
        duty.next_at = began + duty.every * self._pace.seconds
        duty.rests = True
        duty.succeeded()

    def _look(self) -> None:
        """Learn from what the role has observed."""
        seen = self._chain.last_seen
        if seen is None:
            return
        if seen.block_number != self._block:
            self._block, self._block_at = seen.block_number, self._now()
            self._pace.saw(seen.block_number, seen.timestamp)
        self._metrics.saw(seen)

    def _failed(self, duty: Duty, error: Exception) -> None:
        self._metrics.failed(error)
        if not self._retry:
            raise error
        delay = self._delay(duty, error)
        duty.next_at = self._now() + delay
        reason = (
            error.for_log if isinstance(error, FloError) else f"{type(error).__name__}: {error}"
        )
        details = {"role": type(duty.role).__name__, "error": type(error).__name__}
        if reason != duty.refusal:
            log = _log.error if isinstance(error, _NO_COIN) else _log.warning
            log("failed", reason=reason, retry_in=round(delay, 1), **details)
        duty.refusal = reason

    def _delay(self, duty: Duty, error: Exception) -> float:
        """Seconds to wait: what a contract refuses now, it may accept in the next block."""
        if isinstance(error, ContractReverted):
            return self._pace.seconds
        if isinstance(error, _NO_COIN):
            return _NO_COIN_SECONDS
        return duty.back_off.next(self._pace.seconds)

    def _require_blocks(self) -> None:
        if self._timeout is not None and self._now() - self._block_at > self._timeout:
            raise NoBlock(
                f"The chain mined no block within {self._timeout:.0f} s.",
                "Run the command again to go on; nothing is lost.",
            )
