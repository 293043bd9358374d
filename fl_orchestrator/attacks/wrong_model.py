"""All aggregators sign a model that is wrong by one unit in one coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from fl_orchestrator.attacks.base import ATTACKER, HEADING, PROTOCOL, Attack, Tell, Verdict
from fl_orchestrator.attacks.collusion import (
    AcceptedFraud,
    await_judgement,
    corrupt,
    facts_of,
    figures_of,
    go_on,
    proof_fact,
    run_fraudulent_round,
    run_honest_round,
    tell_judgement,
)
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.simulation.options import Options

_PARTIES: Final = 3
_AGGREGATORS: Final = 3
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class WrongModel(Attack):
    """Every aggregator colludes, and publishes the wrong model's file as an honest one would."""

    name: ClassVar[str] = "wrong-model"
    summary: ClassVar[str] = (
        "All aggregators collude, and sign a model that is off by one unit in one coordinate."
    )
    remains: ClassVar[str] = (
        "At least one honest watcher must run. Until its proof, parties may train from the wrong "
        "model, and that work is lost. Without a proof in the challenge period, it becomes final."
    )

    watched: bool = True

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        options = Options("digits", _PARTIES, _AGGREGATORS, _ROUNDS, seed=seed)
        scene = Scene(directory, options, watchers=1)
        if not self.watched:
            scene.simulation.replace(scene.watchers[0], None)
        run_honest_round(scene, tell)
        tell(HEADING, "Round 2")
        fraud = _sign_a_wrong_model(scene, tell)
        newcomer = ""
        if await_judgement(scene, fraud, tell):
            tell_judgement(scene, fraud, tell)
            tell(HEADING, "Round 3")
            newcomer = go_on(scene, tell)
        return _verdict(scene, fraud, newcomer)


def _sign_a_wrong_model(scene: Scene, tell: Tell) -> AcceptedFraud:
    for number in range(_AGGREGATORS):
        corrupt(scene, number)
    fraud = run_fraudulent_round(scene)
    size = scene.simulation.manifest.layout.parameters
    tell(
        ATTACKER,
        f"All {_AGGREGATORS} aggregators add one unit, 2^-24, to one of the {size} values of the "
        "correct model, and sign the result.",
    )
    tell(
        PROTOCOL,
        f"Accepts it, signed by {len(fraud.stakes)} of {_AGGREGATORS}: it is the head, and the "
        "next round would start from it.",
    )
    return fraud


def _verdict(scene: Scene, fraud: AcceptedFraud, newcomer: str) -> Verdict:
    accepted, *others = facts_of(scene, [fraud], newcomer)
    named = {
        "a colluder": scene.aggregators[0],
        "the watcher": scene.watchers[0],
        "a party": scene.parties[0],
        "the keeper": scene.keeper,
    }
    if newcomer:
        named["the newcomer"] = newcomer
    facts = (accepted, proof_fact(scene, fraud), *others)
    return Verdict(facts, scene.costs(named), figures_of(scene, [fraud]))
