"""What the parties contributed to a federation's models, measured on somebody's validation data.

Each round is a cooperative game. Its players are the parties whose updates are in the model. The
utility of some of them is what the measure says of the model that the protocol's own rule, with its
integers and weights, makes of their updates alone and of the round's base. A party's value is the
sum of its values over the rounds (FedSV: Wang et al. 2020, arXiv:2009.06192). As each round starts
from the model of the one before, the values of all parties sum to what all rounds together gained.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import rfc8785

from fl_orchestrator.audit.contribution.shapley import (
    Coalition,
    Utilities,
    Value,
    exact_values,
    groups_of,
    is_enumerated,
    sampled_values,
    seeded_groups,
    student95,
)
from fl_orchestrator.audit.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.types import ModelView, included_indices
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.roles.vectors import VectorFile
from fl_orchestrator.training.trainer import FloatArray, Metrics

#: The measure that every trainer has.
LOSS: Final = "loss"
DEFAULT_PERMUTATIONS: Final = 100
#: A seed is written in so many bytes.
MAX_SEED: Final = (1 << 256) - 1

#: The metrics of weights after a round, and on how many rows.
Evaluate = Callable[[list[FloatArray], int], tuple[Metrics, int]]
_Updates = Sequence[tuple[VectorFile, RevealedUpdate]]


class OnlySums(InputError):
    """In a private federation there is no contribution to compute."""


class NotMeasured(InputError):
    """The trainer's evaluation has no number to measure contributions by."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How contributions are measured.

    ``measure`` is ``loss`` or a metric of the trainer; of those that begin with a minus, and of the
    loss, less is better. ``permutations`` are sampled in groups: see `groups_of`. A round with few
    parties needs no sample: see `is_enumerated`.
    """

    measure: str = LOSS
    permutations: int = DEFAULT_PERMUTATIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.permutations < 2:
            raise InputError("One order of the parties has no error to state.", "Sample 2 or more.")
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"The seed {self.seed} is not in 0..2^256-1.")

    @property
    def metric(self) -> str:
        return self.measure.removeprefix("-")

    @property
    def less_is_better(self) -> bool:
        return self.measure != self.metric or self.metric == LOSS


class Contributions:
    """Measures the rounds that it is shown: see `look`. Private federations raise OnlySums.

    ``data_digest`` identifies the validation data, if the trainer can say it. ``progress`` is
    called with the round and the number of models evaluated so far.
    """

    def __init__(
        self,
        federation: Federation,
        evaluate: Evaluate,
        settings: Settings,
        data_digest: str | None = None,
        progress: Callable[[int, int], None] = lambda _round, _evaluated: None,
    ) -> None:
        require_plain(federation)
        self._manifest: Manifest = federation.manifest
        self._scope = federation.chain.chain_id.to_bytes(32) + bytes.fromhex(federation.address[2:])
        self._evaluate = evaluate
        self._settings = settings
        self._data_digest = data_digest
        self._progress = progress
        self._evaluated = 0
        self._least_groups = 0
        self._rows = 0
        self._rounds: list[dict[str, Any]] = []
        self._totals: dict[str, list[Value]] = {}
        # Of every coalition that was evaluated, in the order of rounds and bit sets.
        self._utilities = hashlib.sha256()

    def look(self, model: ModelView, result: Result, computed: Recomputation) -> None:
        """Measure the round of an accepted model, which was computed again and is right.

        Raises NotMeasured, and TrainingError where the trainer fails.
        """
        base, updates = computed.inputs(result)

        def utility(coalition: Coalition) -> float:
            some = [updates[index] for index in included_indices(coalition)]
            return self._measured(computed.next_weights(base, some), model.round)

        known = Utilities(utility)
        # The least that is needed, whatever the method.
        none, everybody = known(0), known((1 << len(updates)) - 1)
        parties = [reveal.party for _, reveal in updates]
        count = groups_of(len(updates), self._settings.permutations)
        enumerated = is_enumerated(len(updates), count)
        if enumerated:
            values = exact_values(known, len(updates))
        else:
            scope = self._scope + model.round.to_bytes(8)
            groups = seeded_groups(self._settings.seed, scope, parties, count)
            values = sampled_values(known, len(updates), groups)
            # The interval of a sum is that of the round with the fewest groups, which is wider.
            self._least_groups = min(count, self._least_groups or count)
        for party, value in zip(parties, values, strict=True):
            self._totals.setdefault(party, []).append(value)
        by_party = sorted(zip(parties, updates, values, strict=True), key=lambda one: one[0])
        self._rounds.append(
            {
                "round": model.round,
                "method": "exact" if enumerated else "sampled",
                "orders": math.factorial(len(updates)) if enumerated else count * len(updates),
                "coalitions": len(known.known),
                "none": float(none),
                "all": float(everybody),
                "parties": [
                    {"party": party, "weight": reveal.weight, **_described([value], count)}
                    for party, (_, reveal), value in by_party
                ],
            }
        )
        self._note(model.round, parties, known.known)

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types; the same bytes for everybody with the same seed and data.

        Utilities and values are in the unit of the measure, and more is better.
        """
        gained = sum(Fraction(one["all"]) - Fraction(one["none"]) for one in self._rounds)
        return {
            "measure": self._settings.metric,
            "lessIsBetter": self._settings.less_is_better,
            "rows": self._rows,
            "dataDigest": self._data_digest,
            "seed": self._settings.seed,
            "permutations": self._settings.permutations,
            "evaluations": self._evaluated,
            "utilitiesDigest": f"sha256:{self._utilities.hexdigest()}",
            "gained": float(gained),
            "parties": [
                {"party": party, "rounds": len(values), **_described(values, self._least_groups)}
                for party, values in sorted(self._totals.items())
            ],
            "rounds": self._rounds,
        }

    def _measured(self, weights: list[FloatArray], round_number: int) -> float:
        metrics, rows = self._evaluate(weights, round_number)
        self._evaluated += 1
        self._progress(round_number, self._evaluated)
        if not rows:
            raise NotMeasured(
                "The trainer has no validation rows, so there is nothing to measure.",
                "Contributions are measured on rows that the trainer's evaluate sets apart.",
            )
        self._rows = rows
        metric = self._settings.metric
        if metric not in metrics:
            raise NotMeasured(
                f"The trainer's evaluate gives no {metric!r}.", f"It gives {', '.join(metrics)}."
            )
        value = float(metrics[metric])
        if not math.isfinite(value):
            raise NotMeasured(
                f"Round {round_number}: the {metric} of a model of some of the updates is {value}.",
                "Measure by something that stays finite, as --measure accuracy.",
            )
        return -value if self._settings.less_is_better else value

    def _note(
        self, round_number: int, parties: Sequence[str], utilities: dict[Coalition, float]
    ) -> None:
        for coalition, utility in sorted(utilities.items()):
            members = sorted(parties[index] for index in included_indices(coalition))
            self._utilities.update(rfc8785.dumps([round_number, members, utility]) + b"\n")


def require_plain(federation: Federation) -> None:
    """Raise OnlySums in a private federation."""
    if isinstance(federation.chain, PrivateFederation):
        raise OnlySums(
            "The updates of a private federation are masked: only their sum is public, and no sum "
            "tells what one party contributed to it.",
            "Without --contributions, `flo report` has what the chain tells of each party: the "
            "rounds that drew it, and those that it committed to, revealed in and is included in.",
        )


def _described(values: Sequence[Value], groups: int) -> dict[str, Any]:
    """The sums of a party's values over rounds; the errors of different rounds are independent.

    ``groups`` are those of the sample, as far as there is one.
    """
    shapley = float(sum((value.shapley for value in values), Fraction(0)))
    error = math.sqrt(sum((value.variance for value in values), Fraction(0)))
    width = student95(groups - 1) * error if error else 0.0
    return {
        "shapley": shapley,
        "standardError": error,
        "interval95": [shapley - width, shapley + width],
        "leaveOneOut": float(sum((value.leave_one_out for value in values), Fraction(0))),
    }
