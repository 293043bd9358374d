"""The figures that roles report for the metrics and the health of their process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Monitor(Protocol):
    """Receives the figures of a role. Every call replaces the figures of the call before."""

    def saturated(self, tensors: Sequence[str]) -> None:
        """The tensors of the last global state that have a value at an end of its range."""

    def trained(self, clipped: float, coarse: Sequence[str]) -> None:
        """A training succeeded: the share of clipped values, and the tensors that it lost."""

    def sat_out(self, rounds: int, reason: str = "") -> None:
        """The party has sat out so many rounds in a row, the last one for this reason."""

    def accepted(self, included: int, revealed: int) -> None:
        """How many of the last accepted round's revealed updates its model includes."""


class NoMonitor:
    """A monitor that ignores all figures."""

    def saturated(self, tensors: Sequence[str]) -> None:
        pass

    def trained(self, clipped: float, coarse: Sequence[str]) -> None:
        pass

    def sat_out(self, rounds: int, reason: str = "") -> None:
        pass

    def accepted(self, included: int, revealed: int) -> None:
        pass
