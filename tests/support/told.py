"""A monitor that keeps what roles tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Told:
    """What a role has told its monitor."""

    tensors: list[tuple[str, ...]] = field(default_factory=list)
    trainings: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    rounds: list[tuple[int, int]] = field(default_factory=list)

    def saturated(self, tensors: Sequence[str]) -> None:
        self.tensors.append(tuple(tensors))

    def trained(self, clipped: float, coarse: Sequence[str]) -> None:
        self.trainings.append((clipped, tuple(coarse)))

    def sat_out(self, rounds: int, reason: str = "") -> None:
        self.failures.append(rounds)

    def accepted(self, included: int, revealed: int) -> None:
        self.rounds.append((included, revealed))
