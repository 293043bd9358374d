"""Makes the blocks that a round needs on a chain that mines only when there are transactions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from web3 import Web3

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

#: Longer than the time between two blocks of the chains in use.
IDLE_SECONDS: Final = 20.0
#: And once such a block was needed, the chain is known not to make one by itself.
STILL_IDLE_SECONDS: Final = 3.0


class IdleChain:
    """Detects that no block is mined while a round waits for a block or for a deadline.

    The contract's time is that of the last block, so a deadline does not pass without a block.
    """

    def __init__(self, account: str, now: Callable[[], float] = time.monotonic) -> None:
        self._account = account
        self._now = now
        self._block = -1
        self._block_at = 0.0
        self._made = False
        self._patience = IDLE_SECONDS

    def block_needed(self, seen: Observation) -> Call | None:
        """The transaction that makes the block which the round waits for, if none comes."""
        now = self._now()
        if seen.block_number != self._block:
            self._block, self._block_at = seen.block_number, now
            self._patience = STILL_IDLE_SECONDS if self._made else IDLE_SECONDS
            self._made = False
        idle = now - self._block_at
        if idle < self._patience or not _waits(seen, idle):
            return None
        log = _log.warning if self._patience == IDLE_SECONDS else _log.info
        log(
            "no block came: makes one",
            seconds=round(idle),
            round=seen.current.round,
            phase=seen.current.phase.name.lower(),
        )
        self._made = True
        self._block_at = now
        return Call(Web3.to_checksum_address(self._account), b"", 0, "make block")


def _waits(seen: Observation, idle: float) -> bool:
    """Whether the round needs a block, or one that is so many seconds later than the last."""
    current = seen.current
    if current.phase is Phase.SEEDING:
        return seen.block_number <= current.seed_block
    now = seen.timestamp + idle
    deadlines = (seen.phase_end or 0, seen.finalizable_at)
    return any(seen.timestamp < deadline <= now for deadline in deadlines)
