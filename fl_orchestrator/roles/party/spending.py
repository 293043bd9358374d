"""What a party's trainings have told of its rows, kept on disk, and a trainer that obeys a budget.

A training is written down, synced, before it starts. So no update can leave the site that is not
counted, whatever crashes; a training that a crash ended is counted too, and its repetition again.
Only a training that failed is taken back: it gave no weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from fl_orchestrator.errors import InputError, TrainingError
from fl_orchestrator.files import OWNER_ONLY, read_regular, write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.privacy.accounting import epsilon_of
from fl_orchestrator.training.dp_sgd import Mechanism
from fl_orchestrator.training.site.state import SiteState, restore, state_of
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer

#: In a party's directory, once it has trained with a budget.
FILE: Final = "privacy.json"
_MOST_BYTES: Final = 1 << 22


class BudgetSpent(TrainingError):
    """One more training would exceed the party's privacy budget."""


class BadBudget(InputError):
    """Epsilon or delta is out of its range."""


class DamagedLedger(TrainingError):
    """The file of what was spent cannot be read, or is not this program's."""


class OldLedger(TrainingError):
    """The file of what was spent lacks a training whose update was committed."""


class Unprotected(InputError):
    """A party with a privacy budget is asked to release something that is not counted."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that all trainings together may tell of a row: `epsilon` at `delta`."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        """Raises BadBudget."""
        if not (0 < self.epsilon < math.inf):
            raise BadBudget(f"The privacy budget is {self.epsilon}.", "Give a number above zero.")
        if not (0 < self.delta < 1):
            raise BadBudget(f"Delta is {self.delta}.", "Give a number between 0 and 1, as 1e-5.")

    def require_delta_for(self, rows: int) -> None:
        """Refuse a delta that allows to publish one of so many rows whole. Raises BadBudget."""
        if self.delta * rows >= 1:
            raise BadBudget(
                f"Delta is {self.delta:g} with {rows:,} rows: a training that published one of "
                "them whole would be within it.",
                f"Give one well below {1 / rows:.2g}, for example {0.1 / rows:.0e}.",
            )


@dataclass(frozen=True, slots=True)
class Spent:
    """All trainings that count: how often each mechanism ran, and the round of the last one."""

    trainings: Mapping[Mechanism, int]
    last_round: int

    def epsilon(self, delta: float) -> float:
        """Raises AccountantMissing."""
        return epsilon_of(self.trainings, delta)

    def and_one(self, mechanism: Mechanism, round_number: int) -> Spent:
        count = self.trainings.get(mechanism, 0) + 1
        trainings = {**self.trainings, mechanism: count}
        return Spent(trainings, max(self.last_round, round_number))


NOTHING: Final = Spent({}, 0)


class Ledger:
    """The file of what a party has spent. Only its process may write it, below the account's lock.

    A copy that is older than the file it replaced lacks trainings. That is noticed where the chain
    knows of a commit after the copy's last round (`require_newer_than`), and in a running process.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._known: Spent | None = None

    def read(self) -> Spent:
        """Raises DamagedLedger, OldLedger."""
        found = self._read()
        if self._known is None:
            self._known = found
        elif found != self._known:
            raise OldLedger(
                f"{self.path} was changed or replaced while the party was running.",
                "Restore the file that it wrote itself.",
            )
        return found

    def _read(self) -> Spent:
        try:
            text = read_regular(self.path, _MOST_BYTES)
        except FileNotFoundError:
            return NOTHING
        except OSError as error:
            raise _damaged(self.path, str(error)) from error
        try:
            content = from_json(text[:_MOST_BYTES])
            trainings = {
                Mechanism(float(one["noise"]), float(one["rate"]), int(one["steps"])): int(
                    one["trainings"]
                )
                for one in content["spent"]
            }
            spent = Spent(trainings, int(content["lastRound"]))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise _damaged(self.path, "it has another content") from error
        if not all(_possible(*one) for one in trainings.items()):
            raise _damaged(self.path, "a number in it is out of its range")
        return spent

    def write(self, spent: Spent, budget: Budget, epsilon: float) -> None:
        """Replace the file; it survives a power failure on return. Raises OSError.

        Budget and epsilon are for people and `summary`. Only the trainings count.
        """
        content = {
            "budget": {"epsilon": budget.epsilon, "delta": budget.delta},
            "epsilon": epsilon if math.isfinite(epsilon) else None,
            "lastRound": spent.last_round,
            "spent": [
                {"noise": m.noise_multiplier, "rate": m.rate, "steps": m.steps, "trainings": times}
                for m, times in sorted(spent.trainings.items())
                if times
            ],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(self.path, to_json(content, indent=2) + "\n", OWNER_ONLY)
        kept = {m: times for m, times in spent.trainings.items() if times}
        self._known = replace(spent, trainings=kept)

    def require_newer_than(self, committed_round: int) -> None:
        """Refuse a file that lacks the round this party has last committed in, if there is a file.

        Raises OldLedger.
        """
        if self.path.exists() and self.read().last_round < committed_round:
            raise OldLedger(
                f"{self.path} ends with round {self.read().last_round}, but this party committed "
                f"in round {committed_round}: it is an old copy, or something else has trained.",
                "Restore the newest file. If it is lost, what was spent is not known: delete the "
                "file only if counting may start again from zero.",
            )


class SpendingTrainer:
    """A trainer that writes down what each training spends before it begins (see `Trainer`)."""

    def __init__(
        self,
        trainer: Trainer,
        mechanism: Callable[[dict[str, Any]], Mechanism],
        budget: Budget,
        ledger: Ledger,
        round_now: Callable[[], int],
        shown: Callable[[float], None] = lambda _epsilon: None,
    ) -> None:
        """`trainer` trains with DP-SGD, and `mechanism` says what one call of its `fit` spends.

        `shown` gets the epsilon whenever it changes, for the metrics.
        """
        self._trainer, self._mechanism = trainer, mechanism
        self._budget, self._ledger = budget, ledger
        self._round_now, self._shown = round_now, shown

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train if the budget allows it.

        Raises:
            BudgetSpent: it does not.
            DamagedLedger, OldLedger: it is not known what was spent.
        """
        before, budget = self._ledger.read(), self._budget
        after = before.and_one(self._mechanism(config), self._round_now())
        epsilon = after.epsilon(budget.delta)
        if epsilon > budget.epsilon:
            raise BudgetSpent(
                f"The privacy budget is spent: epsilon is {before.epsilon(budget.delta):.4g} of "
                f"{budget.epsilon:g} at delta {budget.delta:g}, and one more training would make "
                f"it {epsilon:.4g}.",
                "The party sits out from now on: `flo party withdraw` requests its stake back.",
            )
        self._write(after, epsilon)
        try:
            return self._trainer.fit(weights, config)
        except TrainingError:
            # It gave no weights. The round stays: it is only compared with the chain's.
            unspent = replace(before, last_round=after.last_round)
            self._write(unspent, unspent.epsilon(budget.delta))
            raise

    def _write(self, spent: Spent, epsilon: float) -> None:
        self._ledger.write(spent, self._budget, epsilon)
        self._shown(epsilon)

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        return self._trainer.evaluate(weights, config)

    def initial_weights(self) -> Mapping[str, FloatArray] | None:
        method = getattr(self._trainer, "initial_weights", None)
        return None if method is None else method()

    def site_state(self) -> SiteState:
        return state_of(self._trainer)

    def restore_site_state(self, state: SiteState) -> None:
        restore(self._trainer, state)


def summary(home: Path) -> dict[str, object]:
    """What the file says for `flo party status`; empty if the party has no budget.

    Raises:
        DamagedLedger: the file cannot be used.
    """
    ledger = Ledger(home)
    if not ledger.path.exists():
        return {}
    spent = ledger.read()
    content = from_json(read_regular(ledger.path, _MOST_BYTES))
    budget = content.get("budget") or {}
    return {
        "privacy_epsilon_spent": content.get("epsilon"),
        "privacy_budget": budget.get("epsilon"),
        "privacy_delta": budget.get("delta"),
        "privacy_trainings": sum(spent.trainings.values()),
    }


def require_no_budget(home: Path) -> None:
    """Refuse to release an update that is not counted, where earlier ones were.

    Raises:
        Unprotected: the party has trained with a budget.
    """
    if (home / FILE).exists():
        raise Unprotected(
            f"This party has trained with a privacy budget ({home / FILE}), and an update without "
            "noise would tell more of its rows than all of that.",
            "Use `flo party run --privacy-budget …`. To give the budget up, delete that file.",
        )


def _possible(mechanism: Mechanism, times: int) -> bool:
    noise, rate, steps = mechanism.noise_multiplier, mechanism.rate, mechanism.steps
    return 0 < noise < math.inf and 0 < rate <= 1 and steps > 0 and times > 0


def _damaged(path: Path, reason: str) -> DamagedLedger:
    return DamagedLedger(
        f"{path} cannot be used: {reason}.",
        "Restore it from a backup: it says how much of the privacy budget is spent.",
    )
