"""How fast blocks come, and how long to wait for what failed."""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Final

# An estimate outside of these seconds comes from a chain whose clock was moved.
_SHORTEST: Final = 0.25
_LONGEST: Final = 15.0
_GAPS: Final = 9


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


@dataclass(slots=True)
class BackOff:
    """Doubling delays in seconds, up to a ``longest`` one.

    Each is cut at random to between a half and the whole, so that those whom one outage hit do not
    all come back at once.
    """

    longest: float = 30.0
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next(self, first: float) -> float:
        """The delay after one more failure; ``first`` is that after the first one."""
        delay = min(self.longest, first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return delay * self.random.uniform(0.5, 1.0)

    def reset(self) -> None:
        self.failures = 0
