"""What all attacks have in common: a story that is told, and a verdict that is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

Tell = Callable[[str, str], None]
"""Takes a line of the story: who acts, and what they do; or what else the line is."""

ATTACKER: Final = "attacker"
PROTOCOL: Final = "protocol"
WATCHER: Final = "watcher"
OWNER: Final = "owner"
HEADING: Final = "heading"
TABLE: Final = "table"


@dataclass(frozen=True, slots=True)
class Fact:
    """What has to be true for the protocol to have won, and whether it is."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """What an attack cost somebody, in wei. What is forgone is what others in that role earned."""

    who: str
    stake_lost: int
    gas_paid: int
    reward: int
    reward_forgone: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attack ended: every fact decides, the figures are for whoever wants to look closer."""

    facts: tuple[Fact, ...]
    costs: tuple[Cost, ...]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def won(self) -> bool:
        """Whether the protocol won."""
        return bool(self.facts) and all(fact.holds for fact in self.facts)


class Attack(ABC):
    """An attack on a federation of its own. Its fields are what a test may want otherwise."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence: what the attacker does, and what for."""
    remains: ClassVar[str]
    """What an attacker of this kind can still do, said honestly."""

    @abstractmethod
    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        """Perform the attack with files in ``directory``, which is empty, and measure the end."""
