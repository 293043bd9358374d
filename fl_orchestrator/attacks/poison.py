"""Parties that send the opposite of the updates that they trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from fl_orchestrator.attacks.base import (
    ATTACKER,
    HEADING,
    PROTOCOL,
    TABLE,
    Attack,
    Fact,
    Tell,
    Verdict,
)
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer

_MEAN: Final = RuleSpec.of(RuleKind.WEIGHTED_MEAN)
_TRIMMED: Final = RuleSpec.of(RuleKind.TRIMMED_MEAN)
_POINTS: Final = 100
_MAX_POINTS_LOST: Final = 5.0
_FACTOR: Final = 10.0
_COLUMNS: Final = "  {:>5}  {:>9}  {:>9}  {:>13}"


class SignFlipping:
    """A trainer whose updates are negated and scaled: sign flipping (Li et al. 2019).

    Values that are then out of an update's range are clipped, as for every party.
    """

    def __init__(self, honest: Trainer) -> None:
        self._honest = honest

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        trained, rows, metrics = self._honest.fit(weights, config)
        flipped = [w - _FACTOR * (t - w) for w, t in zip(weights, trained, strict=True)]
        return [w.astype("float32") for w in flipped], rows, metrics

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        return self._honest.evaluate(weights, config)


@dataclass(frozen=True, slots=True)
class Poison(Attack):
    """A fifth of the parties attack; three federations are compared, one with a ``defence``."""

    name: ClassVar[str] = "poison"
    summary: ClassVar[str] = (
        "A fifth of the parties send their updates with the sign flipped, ten times as large."
    )
    remains: ClassVar[str] = (
        "This is robustness by rule, not detection: the attackers keep their stakes and are paid. "
        "The weighted mean has no defence, and if the parties' data differ a lot, trimming costs "
        "accuracy."
    )

    defence: RuleSpec = _TRIMMED
    rounds: int = 5
    parties: int = 10

    @property
    def attackers(self) -> int:
        return self.parties // 5

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        clean = self._scene(directory / "clean", seed, _MEAN, poisoned=False)
        mean = self._scene(directory / "mean", seed, _MEAN, poisoned=True)
        defended = self._scene(directory / "defended", seed, self.defence, poisoned=True)
        tell(
            ATTACKER,
            f"{self.attackers} of {self.parties} parties train like the others, but send their "
            f"updates times {-_FACTOR:.0f}.",
        )
        tell(PROTOCOL, "Accepts the updates, because they are well-formed.")
        tell(HEADING, "Accuracy on the same test pictures of digits")
        names = ("no attack", "mean", self.defence.kind.label.replace("-", " "))
        tell(TABLE, _COLUMNS.format("round", *names))
        curves: list[list[float]] = []
        accepted = True
        for number in range(1, self.rounds + 1):
            for scene in (clean, mean, defended):
                accepted &= scene.simulation.run_round().accepted
            curves.append([scene.accuracy() for scene in (clean, mean, defended)])
            tell(TABLE, _COLUMNS.format(number, *map("{:.3f}".format, curves[-1])))
        defended.simulation.settle()
        lost = _POINTS * (curves[-1][0] - curves[-1][1])
        tell(PROTOCOL, f"The mean has no defence: it ends {lost:.0f} points lower than unattacked.")
        return self._verdict(defended, dict(zip(names, curves[-1], strict=True)), accepted)

    def _scene(self, directory: Path, seed: int, rule: RuleSpec, *, poisoned: bool) -> Scene:
        attackers = range(self.parties - self.attackers, self.parties) if poisoned else ()
        options = Options("digits", self.parties, 1, self.rounds, rule=rule, seed=seed)
        return Scene(directory, options, dict.fromkeys(attackers, SignFlipping))

    def _verdict(self, defended: Scene, accuracies: dict[str, float], accepted: bool) -> Verdict:
        clean, mean, robust = accuracies.values()
        rule = self.defence.kind.label.replace("-", " ")
        facts = (
            Fact("All rounds of the three federations were accepted.", accepted),
            Fact(
                f"Attacked, the {rule} ends at {robust:.3f}: at most {_MAX_POINTS_LOST:.0f} points "
                f"lower than without an attack ({clean:.3f}).",
                _POINTS * (clean - robust) <= _MAX_POINTS_LOST,
            ),
        )
        named = {
            "an attacker": defended.parties[-1],
            "an honest party": defended.parties[0],
            "the keeper": defended.keeper,
        }
        figures = {
            "accuracy_clean": clean,
            "accuracy_mean": mean,
            "accuracy_defended": robust,
            "defence": self.defence.kind.label,
            "attackers": self.attackers,
            "parties": self.parties,
            "rounds": self.rounds,
        }
        return Verdict(facts, defended.costs(named), figures)
