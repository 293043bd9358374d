"""The base of all attacks: a story for the user, and a verdict that is measured on the chain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

Tell = Callable[[str, str], None]
"""Prints a line of the story: the actor, or the kind of line, and the text."""

ATTACKER: Final = "attacker"
PROTOCOL: Final = "protocol"
WATCHER: Final = "watcher"
OWNER: Final = "owner"
HEADING: Final = "heading"
TABLE: Final = "table"


@dataclass(frozen=True, slots=True)
class Fact:
    """A condition for the protocol to have won, and whether it holds."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost for one account, in wei. Forgone: the reward that others in its role got.

    Bonds are lost if they are neither refunded nor still locked behind an open dispute.
    """

    who: str
    stake_lost: int
    gas_paid: int
    reward: int
    reward_forgone: int
    bonds_lost: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of an attack: all facts must hold; the figures are details for readers."""

    facts: tuple[Fact, ...]
    costs: tuple[Cost, ...]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def won(self) -> bool:
        """Whether the protocol won."""
        return bool(self.facts) and all(fact.holds for fact in self.facts)


class Attack(ABC):
    """An attack on a federation of its own. Its fields are parameters that a test may change."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence: what the attacker does, and for which purpose."""
    remains: ClassVar[str]
    """What an attacker of this kind can still do."""

    @abstractmethod
    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        """Perform the attack with files in the empty ``directory``, and measure the outcome."""
