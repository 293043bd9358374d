"""When an aggregator posted which message of a round to the relay, and when it posts it again."""

from __future__ import annotations

from typing import Final

# What is not on the chain is posted again after this share of the time that the relay has: a
# reorganisation may have undone what the relay sent, and it sends a message once.
_AGAIN_SHARE: Final = 0.05


class Posted:
    """The messages of one round, with the chain's time of the last time that each was posted."""

    def __init__(self) -> None:
        self._times: dict[object, int] = {}

    def __contains__(self, message: object) -> bool:
        return message in self._times

    def note(self, message: object, now: int) -> None:
        self._times[message] = now

    def forget(self, message: object) -> None:
        """Forget that a message was posted: it is on the chain."""
        self._times.pop(message, None)

    def again_at(self, message: object, start: int, end: int) -> int:
        """When to post a message that is not on the chain; the relay has from start to end."""
        posted = self._times.get(message)
        return start if posted is None else posted + max(1, share(0, end - start, _AGAIN_SHARE))


def share(start: int, end: int, part: float) -> int:
    """The time at which this part of a phase is over."""
    return start + int((end - start) * part)
