"""More demands than anybody can pay for or answer: by a cartel, and against honest aggregators."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from fl_orchestrator.attacks.base import (
    ATTACKER,
    HEADING,
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
    figures_of,
    is_revoked,
    run_fraudulent_round,
    run_honest_round,
)
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.units import ETHER, ether

_PARTIES: Final = 3
_AGGREGATORS: Final = 3
_ROUNDS: Final = 3
_COIN: Final = 500 * ETHER


@dataclass(frozen=True, slots=True)
class DemandFlood(Attack):
    """Two federations: a flood of an outsider in one, a cartel's own demands in the other.

    ``flood`` and ``demands`` are how many they make. Without a watcher (``watched``), or if the
    aggregators do not answer (``answered``), the attacks succeed.
    """

    name: ClassVar[str] = "demand-flood"
    summary: ClassVar[str] = (
        "An outsider demands more of a correct model than its signers can show in time, and a "
        "cartel that hides a wrong model demands so much itself that a watcher cannot pay."
    )
    remains: ClassVar[str] = (
        "Aggregators need coin for the gas of their answers, and a watcher for one bond. A flood "
        "beyond what honest aggregators can answer costs at least ten times what it can slash. "
        "Whoever made the demand that convicts gets half of the slash, also a member of the cartel."
    )

    flood: int = 60
    demands: int = 100
    watched: bool = True
    answered: bool = True

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        tell(HEADING, "An outsider's flood")
        flooded = _scene(directory / "flood", seed)
        outsider, facts = _flood(flooded, self.flood, self.answered, tell)
        tell(HEADING, "A cartel's own demands")
        scene = _scene(directory / "cartel", seed)
        fraud, more = _withhold(scene, self.demands, self.watched, tell)
        costs = flooded.costs(
            {"the outsider": outsider, "an honest aggregator": flooded.aggregators[0]}
        )
        costs += scene.costs(
            {
                "the demanding colluder": scene.aggregators[0],
                "another colluder": scene.aggregators[1],
                "the watcher": scene.watchers[0],
            }
        )
        return Verdict((*facts, *more), costs, figures_of(scene, [fraud]))


def _scene(directory: Path, seed: int) -> Scene:
    options = Options("digits", _PARTIES, _AGGREGATORS, _ROUNDS, seed=seed)
    return Scene(directory, options, watchers=1)


def _demand(scene: Scene, sender: Sender, round_number: int, count: int) -> int:
    """Demand the root's node of a round's model so many times; the bonds that it took, in wei."""
    federation, depth = scene.federation, scene.simulation.manifest.layout.state_depth
    before = scene.bonds(sender.address)[0]
    for number in range(count):
        bond = scene.terms.demand_bond * (1 + number)
        sender.send(federation.demand(round_number, depth, 0, bond))
    return scene.bonds(sender.address)[0] - before


# ---------------------------------------------------------------------- against honest aggregators


def _flood(scene: Scene, count: int, answered: bool, tell: Tell) -> tuple[str, tuple[Fact, ...]]:
    simulation = scene.simulation
    if not answered:
        for number, signer in enumerate(simulation.accounts.aggregators):
            context = simulation.context(signer, f"aggregators/{number}")
            simulation.replace(signer.address, Aggregator(context))
    run_honest_round(scene, tell)
    outsider = scene.funded_account("outsider", _COIN)
    simulation.open_round()
    bonds = _demand(scene, outsider, 1, count)
    tell(
        ATTACKER,
        f"While round 2 is open, demands {count} nodes of the model of round 1, which is correct, "
        f"for bonds of {ether(bonds)}: each one that is not answered in "
        f"{scene.terms.answer_period} s convicts all signers.",
    )
    report = simulation.finish_round()
    signers = len(scene.signers(2))
    tell(PROTOCOL, f"Accepts round 2 meanwhile, signed by {signers} of {_AGGREGATORS}.")
    _settle(scene)
    answers = Counter(log["args"]["answerer"] for log in scene.events("Answered", round=1))
    failed = sum(scene.failed_transactions(address) for address in scene.aggregators)
    shares = ", ".join(map(str, sorted(answers.values()))) or "none"
    tell(PROTOCOL, f"Gets {answers.total()} answers; the aggregators sent {shares} of them.")
    lost, returned = scene.bonds(outsider.address)
    earned = sum(log["args"]["paid"] for log in scene.events("BondSettled", round=1))
    tell(PROTOCOL, f"Pays {ether(earned)} of the bonds to those who answered, and burns the rest.")
    stakes = sum(scene.stake_lost(address) for address in scene.aggregators)
    every = answers.total() == count and not scene.events("FraudProven")
    return outsider.address, (
        Fact(f"Every one of the {count} demands was answered in time.", every),
        Fact(
            "The aggregators shared them, and paid for no answer twice.",
            not failed and len(answers) == _AGGREGATORS,
        ),
        Fact(
            "Round 2 was accepted meanwhile, signed by all aggregators.",
            report.accepted and signers == _AGGREGATORS,
        ),
        Fact(f"No honest aggregator lost any stake ({ether(stakes)}).", stakes == 0),
        Fact(
            f"The outsider lost all bonds, {ether(lost)}; half of it went to the aggregators.",
            returned == 0 < lost and 2 * earned == lost,
        ),
    )


def _settle(scene: Scene) -> None:
    """Make the rounds final, and let who is owed a bond collect it."""
    simulation, federation = scene.simulation, scene.federation
    simulation.settle()
    ids = [log["args"]["id"] for log in scene.events("Answered")]

    simulation.run_until(lambda _: all(federation.demand_by_id(number) is None for number in ids))


# ---------------------------------------------------------------------- a cartel's own demands


def _withhold(
    scene: Scene, count: int, watched: bool, tell: Tell
) -> tuple[AcceptedFraud, tuple[Fact, ...]]:
    simulation = scene.simulation
    if not watched:
        simulation.replace(scene.watchers[0], None)
    run_honest_round(scene, tell)
    for number in range(_AGGREGATORS):
        corrupt(scene, number, hide=True)
    fraud = run_fraudulent_round(scene)
    tell(
        ATTACKER,
        f"All {_AGGREGATORS} aggregators sign a wrong model, and publish its file nowhere.",
    )
    member = simulation.sender(simulation.accounts.aggregators[0])
    bonds = _demand(scene, member, fraud.round, count)
    price = ether((count + 1) * scene.terms.demand_bond)
    tell(
        ATTACKER,
        f"One of them makes {count} demands itself, for bonds of {ether(bonds)}, so that a demand "
        f"of anybody else costs {price}. Nobody answers them.",
    )
    if await_judgement(scene, fraud, tell):
        tell(WATCHER, "Expires the first demand that is overdue. The cartel has made it itself.")
        _tell_slashes(scene, fraud, tell)
        for log in scene.events("Demanded", demander=member.address):
            member.send(scene.federation.settle_bond(log["args"]["id"]))
        back = ether(scene.bonds(member.address)[1])
        tell(PROTOCOL, f"Refunds the bonds of the revoked round, {back} to the cartel.")
    return fraud, _cartel_facts(scene, fraud, count)


def _tell_slashes(scene: Scene, fraud: AcceptedFraud, tell: Tell) -> None:
    lost, burnt = _slashed(scene, fraud)
    tell(
        PROTOCOL,
        f"Revokes round {fraud.round}, and slashes its signers by {ether(lost)}: {ether(burnt)} "
        "is burnt, the rest goes to the demander.",
    )


def _slashed(scene: Scene, fraud: AcceptedFraud) -> tuple[int, int]:
    slashes: list[Any] = scene.slashes(fraud.round)
    return sum(s["amount"] for s in slashes), sum(s["burnt"] for s in slashes)


def _cartel_facts(scene: Scene, fraud: AcceptedFraud, count: int) -> tuple[Fact, ...]:
    lost, burnt = _slashed(scene, fraud)
    stakes, watcher = sum(fraud.stakes.values()), scene.watchers[0]
    proven = scene.events("FraudProven", digest=fraud.digest)
    made = {log["args"]["id"]: log["args"] for log in scene.events("Demanded", round=fraud.round)}
    first = min((demand["deadline"] for demand in made.values()), default=0)
    late = scene.time_of(proven[0]) - first if proven else None
    paid, returned = scene.bonds(watcher)
    return (
        Fact(
            f"The wrong model of round {fraud.round} had become the head, with all the stake "
            "behind it.",
            fraud.is_head and stakes == fraud.all_stakes > 0,
        ),
        Fact(
            f"Round {fraud.round} ended revoked, and the head went back to the model of round "
            f"{fraud.base.round}.",
            is_revoked(scene, fraud, fraud.base),
        ),
        Fact(
            f"One of the cartel's own {count} demands convicted it, "
            f"{'never' if late is None else f'{late} s after it was overdue'}.",
            late is not None
            and 0 <= late <= 2
            and proven[0]["args"]["challenger"] == scene.aggregators[0],
        ),
        Fact(
            f"Every signer lost its whole stake, {ether(lost)} in total, and {ether(burnt)} of it "
            "is burnt.",
            lost == stakes > 0 and 2 * burnt == lost,
        ),
        Fact(f"The watcher lost no bond: {ether(returned)} came back.", paid == returned),
    )
