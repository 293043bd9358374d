"""An aggregator that never starts, and one whose process is killed in the middle of a round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fl_orchestrator.attacks.base import ATTACKER, HEADING, PROTOCOL, Attack, Fact, Tell, Verdict
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles import base
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.units import ether

_ROUNDS = 3


class _Killed(BaseException):
    """Stands for the kill of a process, so no handler of the role may catch it."""


class _FatalRelay:
    """A relay that kills the role that posts to it, before the message is sent."""

    def _kill(self, *_: Any) -> None:
        raise _Killed

    post_commit = put_update = post_reveal = post_attestation = _kill


class _Mortal:
    """A role that does nothing after it was killed."""

    def __init__(self, role: base.Worker) -> None:
        self._role: base.Worker | None = role

    @property
    def is_dead(self) -> bool:
        return self._role is None

    def step(self) -> base.Step:
        if self._role is None:
            return base.Step(wait=base.NEVER)
        try:
            return self._role.step()
        except _Killed:
            self._role = None
            return base.Step(wait=base.NEVER)


@dataclass(frozen=True, slots=True)
class AbsentAggregator(Attack):
    """One of several aggregators with equal stakes does not take part."""

    name: ClassVar[str] = "absent-aggregator"
    summary: ClassVar[str] = "One of four aggregators never signs, to prevent a quorum."
    remains: ClassVar[str] = (
        "If a third of the stake or more is absent, rounds are void until the owner admits other "
        "aggregators; nobody is slashed for absence."
    )

    aggregators: int = 4

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        options = Options(parties=3, aggregators=self.aggregators, rounds=_ROUNDS, seed=seed)
        scene = Scene(directory, options)
        simulation, absent = scene.simulation, scene.aggregators[-1]
        funded = simulation.observe().free_pot
        tell(HEADING, "Round 1")
        tell(ATTACKER, f"Aggregator {self.aggregators} has registered, but does not run.")
        simulation.replace(absent, None)
        _run_round(scene, tell)
        tell(HEADING, "Round 2")
        tell(ATTACKER, "It starts now.")
        mortal = _Mortal(simulation.aggregator(self.aggregators - 1, relay=_FatalRelay()))
        simulation.replace(absent, mortal)
        _run_round(scene, tell, mortal)
        tell(HEADING, "Round 3")
        tell(ATTACKER, "It is started again, and this time it signs.")
        simulation.replace(absent, simulation.aggregator(self.aggregators - 1))
        _run_round(scene, tell)
        return self._verdict(scene, absent, funded, mortal)

    def _verdict(self, scene: Scene, absent: str, funded: int, mortal: _Mortal) -> Verdict:
        others = set(scene.aggregators) - {absent}
        signers = {number: scene.signers(number) for number in range(1, _ROUNDS + 1)}
        round_share = max(map(scene.reward, scene.aggregators)) // _ROUNDS
        credited = sum(map(scene.reward, (*scene.parties, *scene.aggregators)))
        in_pot = scene.simulation.observe().free_pot
        facts = (
            Fact("Round 1 was accepted without it.", signers[1] == others),
            Fact(
                "It was killed in round 2 before it signed, and the round was accepted without it.",
                mortal.is_dead and signers[2] == others,
            ),
            Fact(
                f"The signers held {len(others)} of {self.aggregators} equal stakes, more than two "
                "thirds.",
                3 * scene.frozen_stake(others) > 2 * scene.frozen_stake(scene.aggregators),
            ),
            Fact("After a restart it signed round 3.", signers[3] == set(scene.aggregators)),
            Fact(
                f"It was paid for one round of three: {ether(scene.reward(absent))}.",
                scene.reward(absent) == round_share > 0,
            ),
            Fact(
                f"The reward that it did not earn stayed in the pot: {ether(in_pot)}.",
                in_pot == funded - credited >= 2 * round_share,
            ),
        )
        named = {
            "the absent one": absent,
            "an aggregator": scene.aggregators[0],
            "a party": scene.parties[0],
            "the keeper": scene.keeper,
        }
        figures = {"signers_by_round": {str(n): len(who) for n, who in signers.items()}}
        return Verdict(facts, scene.costs(named), figures)


def _run_round(scene: Scene, tell: Tell, mortal: _Mortal | None = None) -> None:
    simulation = scene.simulation
    number = simulation.open_round().current.round
    if mortal is not None:
        simulation.run_until(lambda o: mortal.is_dead or o.current.phase is Phase.VOID)
        tell(ATTACKER, "It fetches the updates, computes the model, and is killed before it signs.")
    report = simulation.finish_round()
    # Wait until nobody can sign this round any more.
    simulation.settle()
    if not report.accepted:
        tell(PROTOCOL, "No quorum: the round is void, and the next one opens.")
        return
    signed, stakes = scene.signers(number), len(scene.aggregators)
    tell(PROTOCOL, f"Accepts the round, signed by {len(signed)} of {stakes} equal stakes.")
