"""A party that does not reveal what it committed to, and one that commits too late."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from fl_orchestrator.attacks.adversary import in_words
from fl_orchestrator.attacks.base import ATTACKER, HEADING, PROTOCOL, Attack, Fact, Tell, Verdict
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.protocol import BPS
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.units import ether

_KILLED: Final = 0
_LATE: Final = 1
_PARTIES: Final = 4


@dataclass(frozen=True, slots=True)
class LateParty(Attack):
    """One party is killed after its commit; another one trains for too long."""

    name: ClassVar[str] = "late-party"
    summary: ClassVar[str] = (
        "A party commits and never reveals, another one commits too late, to delay the round."
    )
    remains: ClassVar[str] = (
        "A silent party can delay a round until the deadlines of its phases, not longer. The "
        "contract slashes a broken machine like a malicious one: it cannot tell them apart."
    )

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        scene = Scene(directory, Options(parties=_PARTIES, rounds=2, seed=seed))
        killed, late = scene.parties[_KILLED], scene.parties[_LATE]
        tell(HEADING, "Round 1")
        refused, on_time = _miss_a_round(scene, tell)
        tell(HEADING, "Round 2")
        tell(ATTACKER, "Both parties are restarted with the files that they had.")
        scene.simulation.replace(killed, scene.simulation.party(_KILLED))
        scene.simulation.replace(late, scene.simulation.party(_LATE))
        scene.simulation.run_round()
        lost, burnt = scene.stake_lost(killed), scene.burnt(killed)
        tell(PROTOCOL, f"Slashes {ether(lost)} of the silent party's stake at its next commit.")
        tell(PROTOCOL, f"Accepts the round with {len(scene.included(2))} updates.")
        scene.simulation.settle()
        expected = 2 * scene.terms.min_party_stake * scene.terms.unrevealed_slash_bps // BPS
        facts = (
            Fact("The late commit was refused.", refused is ContractError.WrongPhase),
            Fact("Round 1 kept the deadlines that were set when it opened.", on_time),
            Fact(
                "Round 1 was accepted with the two parties that were in time.",
                scene.included(1) == set(scene.parties) - {killed, late},
            ),
            Fact(
                f"The silent party lost {ether(lost)} of its stake, all of it burnt.",
                lost == burnt == expected > 0,
            ),
            Fact("The late party lost no stake.", scene.stake_lost(late) == 0),
            Fact("Round 2 included everybody.", scene.included(2) == set(scene.parties)),
        )
        named = {
            "the silent party": killed,
            "the late party": late,
            "a party in time": scene.parties[-1],
            "the keeper": scene.keeper,
        }
        return Verdict(facts, scene.costs(named), {"refusals": {"late_commit": in_words(refused)}})


def _miss_a_round(scene: Scene, tell: Tell) -> tuple[ContractError | None, bool]:
    """The first round: the late commit's error, and whether the round kept its deadlines."""
    simulation = scene.simulation
    late = scene.adversary(_LATE)
    opened = simulation.open_round().current
    simulation.run_until(lambda o: o.current.commits == _PARTIES - 1)
    simulation.replace(scene.parties[_KILLED], None)
    tell(ATTACKER, "Party 1 commits to its update, and its process is killed.")
    tell(ATTACKER, "Party 2 trains for too long.")
    simulation.run_until(lambda o: o.current.phase is Phase.REVEAL)
    tell(PROTOCOL, f"Ends the commit phase at its deadline: {scene.terms.commit_period} s.")
    update = late.update(*late.file())
    refused = late.attempt(scene.federation.commit(1, late.commitment(update)))
    tell(ATTACKER, "Party 2 sends its commit.")
    tell(PROTOCOL, f"{in_words(refused)}: it can no longer take part in this round.")
    ended = simulation.run_until(lambda o: o.current.phase is not Phase.REVEAL).current
    period = ended.reveal_end - ended.commit_end
    tell(PROTOCOL, f"Waits for party 1's reveal until its deadline, {period} s, then continues.")
    simulation.finish_round()
    tell(PROTOCOL, f"Accepts the round with {len(scene.included(1))} updates.")
    on_time = (ended.commit_end, ended.reveal_end) == (opened.commit_end, opened.reveal_end)
    return refused, on_time
