"""The attacks by their names."""

from __future__ import annotations

from typing import Final

from fl_orchestrator.attacks.absent_aggregator import AbsentAggregator
from fl_orchestrator.attacks.base import Attack
from fl_orchestrator.attacks.copycat import Copycat
from fl_orchestrator.attacks.demand_flood import DemandFlood
from fl_orchestrator.attacks.junk_bytes import JunkBytes
from fl_orchestrator.attacks.late_party import LateParty
from fl_orchestrator.attacks.poison import Poison
from fl_orchestrator.attacks.withheld_model import WithheldModel
from fl_orchestrator.attacks.wrong_model import WrongModel
from fl_orchestrator.errors import InputError

ATTACKS: Final[dict[str, Attack]] = {
    attack.name: attack
    for attack in (
        WrongModel(),
        WithheldModel(),
        DemandFlood(),
        Copycat(),
        Poison(),
        AbsentAggregator(),
        LateParty(),
        JunkBytes(),
    )
}


class UnknownAttack(InputError):
    """No attack has this name."""


def attack_named(name: str) -> Attack:
    """Raises UnknownAttack."""
    if name not in ATTACKS:
        raise UnknownAttack(f"There is no attack {name!r}.", f"Use one of {', '.join(ATTACKS)}.")
    return ATTACKS[name]
