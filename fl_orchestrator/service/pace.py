"""When the roles of a process are asked, by this machine's clock."""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Callable
from typing import Final

from fl_orchestrator.chain.types import Observation
from fl_orchestrator.roles.base import Step, Worker
from fl_orchestrator.roles.schedule import Schedule

#: After how many blocks a role looks for events, which takes several requests; and after how many
#: one that waits for something else looks again at what it did, which a reorganisation may have
#: dropped.
LOOK_EVERY: Final = 8

# An estimate outside of these seconds comes from a chain whose clock was moved.
_SHORTEST: Final = 0.25
_LONGEST: Final = 15.0
_GAPS: Final = 9
_LONGEST_DELAY: Final = 30.0


class Pace:
    """The chain's block time in seconds, learnt from the blocks that were seen.

    The median, so that a jump of the chain's clock does not count.
    """

    def __init__(self, unknown: float = 1.0) -> None:
        self._unknown = unknown
        self._gaps: deque[float] = deque(maxlen=_GAPS)
        self._last: tuple[int, int] | None = None

    def saw(self, number: int, timestamp: int) -> None:
        """Take in a block. One that is not later than the last one starts anew after a reorg."""
        if self._last is not None and number > self._last[0]:
            self._gaps.append((timestamp - self._last[1]) / (number - self._last[0]))
        self._last = (number, timestamp)

    @property
    def seconds(self) -> float:
        if not self._gaps:
            return self._unknown
        return min(max(statistics.median(self._gaps), _SHORTEST), _LONGEST)


class ProcessSchedule(Schedule):
    """A worker's schedule in a process: ``next_at`` is when to look whether it is due.

    It is looked at each block, or later where only a known number of blocks or seconds can make it
    due. After a failure the delay doubles from one block on, up to 30 seconds. It is cut at random
    to between a half and the whole, so that those whom one outage hit do not all come back at once.
    """

    def __init__(
        self,
        worker: Worker,
        pace: Pace,
        now: Callable[[], float],
        generator: random.Random | None = None,
    ) -> None:
        super().__init__(worker, events_every=LOOK_EVERY, check_every=LOOK_EVERY)
        self.next_at = 0.0
        self._pace = pace
        self._now = now
        self._random = generator or random.SystemRandom()
        self._failures = 0

    def ask(self, seen: Observation | None) -> Step:
        """As `Schedule.ask`; an answer ends the delays of earlier failures."""
        step = super().ask(seen)
        self._failures = 0
        return step

    def rest(self, seen: Observation | None, since: float) -> None:
        """Look again when the worker may be due: so long after ``since`` as the pace tells."""
        self.next_at = since + self._seconds_left(seen)

    def retry(self, delay: float | None = None) -> float:
        """Ask again after a failure, in ``delay`` seconds if it is known; the delay."""
        if delay is None:
            first = self._pace.seconds
            delay = min(_LONGEST_DELAY, first * 2.0 ** min(self._failures, 32))
            delay *= self._random.uniform(0.5, 1.0)
            self._failures += 1
        self.next_at = self._now() + delay
        return delay

    def _seconds_left(self, seen: Observation | None) -> float:
        """The seconds in which the worker will not be due."""
        block = self._pace.seconds
        if seen is None or self.wait.any_time or self.wait.phases:
            return block
        blocks = self.blocks_left(seen)
        seconds = block * (1 if blocks is None else blocks)
        time = self.wait.next_time(seen.timestamp)
        if time is not None:
            seconds = min(seconds, time - seen.timestamp)
        return max(block, seconds)
