"""All aggregators sign a wrong model and withhold its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from fl_orchestrator.attacks.base import (
    ATTACKER,
    HEADING,
    OWNER,
    PROTOCOL,
    WATCHER,
    Attack,
    Fact,
    Tell,
    Verdict,
)
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
from fl_orchestrator.model.disputes.answers import levels_shown
from fl_orchestrator.model.keccak import HASH_BYTES
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.units import ether

_PARTIES: Final = 3
_AGGREGATORS: Final = 3
_SUCCESSORS: Final = 2
_ROUNDS: Final = 4
# Larger than this small model needs, so that a descent has several steps.
_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class WithheldModel(Attack):
    """Two cartels in turn: the first stays silent, the second answers every demand."""

    name: ClassVar[str] = "withheld-model"
    summary: ClassVar[str] = (
        "All aggregators sign a wrong model and publish its file nowhere, so that nobody can check "
        "it."
    )
    remains: ClassVar[str] = (
        "A withheld model stops the training until it is revoked, for one answer period at each "
        "step of a descent. If a dishonest quorum withholds updates instead, that raises an alert, "
        "but proves nothing."
    )

    watched: bool = True

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        options = Options("digits", _PARTIES, _AGGREGATORS, _ROUNDS, seed=seed)
        scene = Scene(directory, options, watchers=1, depth=_DEPTH)
        if not self.watched:
            scene.simulation.replace(scene.watchers[0], None)
        run_honest_round(scene, tell)
        tell(HEADING, "Round 2")
        frauds = [_sign_a_hidden_model(scene, range(_AGGREGATORS), tell, answer=False)]
        undone, newcomer = _judge(scene, frauds[0], tell), ""
        if undone:
            tell(HEADING, "Round 3")
            frauds.append(_try_again(scene, tell))
            undone = _judge(scene, frauds[1], tell)
        if undone:
            tell(HEADING, "Round 4")
            newcomer = go_on(scene, tell)
        return _verdict(scene, frauds, newcomer)


def _judge(scene: Scene, fraud: AcceptedFraud, tell: Tell) -> bool:
    """Let the watcher act, and tell the story; return whether the model was revoked."""
    undone = await_judgement(scene, fraud, tell)
    if undone:
        _tell_descent(scene, fraud, tell)
        tell_judgement(scene, fraud, tell)
    return undone


def _sign_a_hidden_model(scene: Scene, who: range, tell: Tell, *, answer: bool) -> AcceptedFraud:
    for number in who:
        corrupt(scene, number, hide=True, answer=answer)
    fraud = run_fraudulent_round(scene)
    signed = len(fraud.stakes)
    tell(
        ATTACKER,
        f"All {len(who)} aggregators sign a wrong model, and publish its file nowhere.",
    )
    tell(
        PROTOCOL,
        f"Accepts it, signed by {signed} of {len(who)}: it is the head, and nobody can read it.",
    )
    return fraud


def _try_again(scene: Scene, tell: Tell) -> AcceptedFraud:
    for _ in range(_SUCCESSORS):
        scene.admit_aggregator()
    tell(OWNER, f"Admits {_SUCCESSORS} other aggregators in their place. They collude as well.")
    who = range(_AGGREGATORS, _AGGREGATORS + _SUCCESSORS)
    return _sign_a_hidden_model(scene, who, tell, answer=True)


def _tell_descent(scene: Scene, fraud: AcceptedFraud, tell: Tell) -> None:
    for demanded, answered in _descent(scene, fraud):
        level, index = demanded["level"], demanded["index"]
        if demanded["previous"] == 0:
            bond = ether(demanded["bond"])
            tell(WATCHER, f"Demands the nodes below the root on the chain, for a bond of {bond}.")
        else:
            node = f"node {index} of level {level}" if level else f"chunk {index}"
            tell(WATCHER, f"Demands the first node that differs from the correct tree: {node}.")
        if answered is None:
            tell(ATTACKER, f"They stay silent, for {scene.terms.answer_period} s.")
            tell(PROTOCOL, "Convicts them, because a demand without an answer proves the fraud.")
        elif level:
            below = len(answered["content"]) // HASH_BYTES
            tell(ATTACKER, f"They show the {below} nodes {levels_shown(level)} levels below it.")
        else:
            tell(ATTACKER, f"They show this chunk, {len(answered['content']):,} bytes.")


def _descent(scene: Scene, fraud: AcceptedFraud) -> list[tuple[Any, Any | None]]:
    """The demands in a round, in their order, each with its answer if it got one."""
    answers = {a["args"]["id"]: a["args"] for a in scene.events("Answered", round=fraud.round)}
    demands = (log["args"] for log in scene.events("Demanded", round=fraud.round))
    return [(demand, answers.get(demand["id"])) for demand in demands]


def _verdict(scene: Scene, frauds: Sequence[AcceptedFraud], newcomer: str) -> Verdict:
    accepted, *others, went_on = facts_of(scene, frauds, newcomer)
    store, watcher = scene.simulation.store, scene.watchers[0]
    locked, returned = scene.bonds(watcher)
    facts = (
        accepted,
        Fact(
            "The store never had their models' files.",
            not any(store.has(fraud.wrong.cid) for fraud in frauds),
        ),
        Fact("In round 2, the silence was sufficient proof.", _is_expired(scene, frauds[0])),
        Fact(
            "In round 3, every demand was answered, from the root down to a chunk.",
            len(frauds) == 2 and _reaches_a_chunk(scene, frauds[1]),
        ),
        proof_fact(scene, frauds[-1]),
        *others,
        Fact(
            f"All bonds that the watcher paid, {ether(locked)}, were refunded.",
            locked == returned > 0,
        ),
        went_on,
    )
    named = {
        "a silent one": scene.aggregators[0],
        "the watcher": watcher,
        "a party": scene.parties[0],
        "the keeper": scene.keeper,
    }
    if newcomer:
        answering = scene.aggregators[_AGGREGATORS]
        named = {"one who answered": answering, **named, "the newcomer": newcomer}
    return Verdict(facts, scene.costs(named), figures_of(scene, frauds))


def _is_expired(scene: Scene, fraud: AcceptedFraud) -> bool:
    """Whether one demand, and no answer, proved the fraud."""
    proven = scene.events("FraudProven", digest=fraud.digest, challenger=scene.watchers[0])
    challenged = scene.events("ChallengeProven", digest=fraud.digest)
    answers = [answered for _, answered in _descent(scene, fraud)]
    return bool(proven) and not challenged and answers == [None]


def _reaches_a_chunk(scene: Scene, fraud: AcceptedFraud) -> bool:
    descent = _descent(scene, fraud)
    levels = [demanded["level"] for demanded, _ in descent]
    all_answered = all(answered for _, answered in descent)
    return all_answered and levels[:1] == [_DEPTH] and levels[-1:] == [0]
