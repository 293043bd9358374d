"""A party's privacy budget: every training counts, crash or not; beyond it the party sits out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.crashes import Killed
from support.federation import FEATURES, SmallFederation, rows_of
from support.told import Told

from fl_orchestrator.errors import TrainingError
from fl_orchestrator.privacy import accounting
from fl_orchestrator.roles.party.party import Party
from fl_orchestrator.roles.party.spending import (
    FILE,
    NOTHING,
    BadBudget,
    Budget,
    BudgetSpent,
    DamagedLedger,
    Ledger,
    OldLedger,
    SpendingTrainer,
    Spent,
    Unprotected,
    require_no_budget,
    summary,
)
from fl_orchestrator.training.dp_sgd import Mechanism, PrivateTrainer, Protection
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights

CONFIG = {"seed": 3, "epochs": 1, "batchSize": 8, "learningRate": 0.1}
DELTA = 1e-5
MECHANISM = Mechanism(8.0, 8 / 24, 3)
BUDGET = Budget(accounting.epsilon_of({MECHANISM: 2}, DELTA) * 1.01, DELTA)  # for two trainings


def logistic() -> NumpyLogistic:
    return NumpyLogistic(rows_of(0), 2)


def spending(
    home: Path,
    trainer: NumpyLogistic | None = None,
    budget: Budget = BUDGET,
    round_now: Callable[[], int] = lambda: 1,
    shown: Callable[[float], None] = lambda _epsilon: None,
) -> SpendingTrainer:
    private = PrivateTrainer(trainer or logistic(), Protection(8.0, 1.0))
    return SpendingTrainer(private, private.mechanism, budget, Ledger(home), round_now, shown)


def trainings(home: Path) -> int:
    return sum(Ledger(home).read().trainings.values())


def party_of(federation: SmallFederation, trainer: SpendingTrainer, **more: Any) -> Party:
    return federation.party(0, trainer=trainer, **more)


def test_a_training_is_on_disk_before_it_begins(tmp_path: Path) -> None:
    class Looks(NumpyLogistic):
        seen = 0

        def row_gradients(self, weights: list[Any], rows: Any) -> list[Any]:
            self.seen = trainings(tmp_path)
            return super().row_gradients(weights, rows)

    looks = Looks(rows_of(0), 2)
    shown: list[float] = []
    spending(tmp_path, looks, shown=shown.append).fit(initial_weights(FEATURES, 2), CONFIG)
    assert looks.seen == 1
    assert Ledger(tmp_path).read() == Spent({MECHANISM: 1}, 1)
    assert shown == [accounting.epsilon_of({MECHANISM: 1}, DELTA)]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert summary(tmp_path) == {
        "privacy_epsilon_spent": shown[0],
        "privacy_budget": BUDGET.epsilon,
        "privacy_delta": DELTA,
        "privacy_trainings": 1,
    }


def test_a_party_sits_out_beyond_its_budget(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    home, told = federation.home("parties", 0), Told()
    Ledger(home).write(Spent({MECHANISM: 2}, 0), BUDGET, BUDGET.epsilon)
    party = party_of(federation, spending(home), monitor=told)
    federation.open_round()
    with capture_logs() as logs:
        assert [party.step().action for _ in range(3)] == [None] * 3
    (said,) = [log["reason"] for log in logs if log["event"] == "sits out"]
    assert said.startswith("The privacy budget is spent: epsilon is")
    assert told.failures == [1]
    assert trainings(home) == 2


@pytest.mark.parametrize("where", ["in training", "before the journal", "before the commit"])
def test_a_kill_between_training_and_commit_loses_no_spending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    class Dies(NumpyLogistic):
        def row_gradients(self, weights: list[Any], rows: Any) -> list[Any]:
            raise Killed

    def die(*_: object) -> Any:
        raise Killed

    federation = SmallFederation(tmp_path, parties=2)
    home = federation.home("parties", 0)
    dying = Dies(rows_of(0), 2) if where == "in training" else None
    party = party_of(federation, spending(home, dying))
    if where == "before the journal":
        monkeypatch.setattr(party, "prepare", die)
    if where == "before the commit":
        monkeypatch.setattr(party, "_commit", die)
    federation.open_round()
    trained = spending(home)
    with pytest.raises(Killed):
        party.step()
    assert trainings(home) == 1
    # The next process commits; it trains again only if no update is on disk, and that counts too.
    assert party_of(federation, trained).step().action == "commit"
    assert trainings(home) == (1 if where == "before the commit" else 2)


def test_repeated_kills_in_training_use_the_budget_up(tmp_path: Path) -> None:
    class Dies(NumpyLogistic):
        def row_gradients(self, weights: list[Any], rows: Any) -> list[Any]:
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            spending(tmp_path, Dies(rows_of(0), 2)).fit(initial_weights(FEATURES, 2), CONFIG)
    with pytest.raises(BudgetSpent):
        spending(tmp_path).fit(initial_weights(FEATURES, 2), CONFIG)


def test_a_training_that_failed_gave_nothing_and_spends_nothing(tmp_path: Path) -> None:
    class Fails(NumpyLogistic):
        def row_gradients(self, weights: list[Any], rows: Any) -> list[Any]:
            raise TrainingError("The disk of the scanner is away.")

    shown: list[float] = []
    trainer = spending(tmp_path, Fails(rows_of(0), 2), shown=shown.append)
    with pytest.raises(TrainingError, match="scanner"):
        trainer.fit(initial_weights(FEATURES, 2), CONFIG)
    assert Ledger(tmp_path).read() == Spent({}, 1)
    assert shown[-1] == 0.0


def test_another_noise_adds_to_what_was_spent_before(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    other = Mechanism(5.0, 0.5, 7)
    ledger.write(Spent({other: 1}, 4), BUDGET, 0.0)
    spending(tmp_path, budget=Budget(9.0, DELTA)).fit(initial_weights(FEATURES, 2), CONFIG)
    assert Ledger(tmp_path).read() == Spent({other: 1, MECHANISM: 1}, 4)


def test_a_restored_older_file_is_noticed_while_the_party_runs(tmp_path: Path) -> None:
    trainer, start = spending(tmp_path), initial_weights(FEATURES, 2)
    trainer.fit(start, CONFIG)
    shutil.copy(tmp_path / FILE, tmp_path / "backup")
    trainer.fit(start, CONFIG)
    shutil.copy(tmp_path / "backup", tmp_path / FILE)
    with pytest.raises(OldLedger, match="was changed or replaced while the party was running"):
        trainer.fit(start, CONFIG)
    (tmp_path / FILE).unlink()
    with pytest.raises(OldLedger):
        trainer.fit(start, CONFIG)


def test_a_restored_older_file_is_noticed_by_a_later_commit_on_the_chain(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.require_newer_than(7)  # there is none: nothing to compare
    ledger.write(Spent({MECHANISM: 1}, 6), BUDGET, 0.1)
    ledger.require_newer_than(6)
    with pytest.raises(OldLedger, match="ends with round 6, but this party committed in round 7"):
        ledger.require_newer_than(7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"lastRound": 1, "spent": [{}]}',
        '{"lastRound": 1, "spent": [{"noise": 1, "rate": 2, "steps": 3, "trainings": 1}]}',
        '{"lastRound": 1, "spent": [{"noise": 1, "rate": 0.5, "steps": 3, "trainings": -1}]}',
        '{"lastRound": 1, "spent": [{"noise": 1e999, "rate": 0.5, "steps": 3, "trainings": 1}]}',
    ],
)
def test_a_damaged_file_stops_training(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DamagedLedger, match="Restore it from a backup"):
        spending(tmp_path).fit(initial_weights(FEATURES, 2), CONFIG)


def test_the_file_says_what_was_done_in_words_of_the_options(tmp_path: Path) -> None:
    spending(tmp_path).fit(initial_weights(FEATURES, 2), CONFIG)
    content = json.loads((tmp_path / FILE).read_text())
    assert content["spent"] == [{"noise": 8.0, "rate": 8 / 24, "steps": 3, "trainings": 1}]
    assert content["budget"] == {"epsilon": BUDGET.epsilon, "delta": DELTA}


def test_a_party_with_a_budget_releases_nothing_without_noise(tmp_path: Path) -> None:
    require_no_budget(tmp_path)
    assert summary(tmp_path) == {}
    assert Ledger(tmp_path).read() == NOTHING
    Ledger(tmp_path).write(NOTHING, BUDGET, 0.0)
    with pytest.raises(Unprotected, match="delete that file"):
        require_no_budget(tmp_path)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_out_of_its_range_is_refused(epsilon: float) -> None:
    with pytest.raises(BadBudget, match="above zero"):
        Budget(epsilon, DELTA)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, float("nan")])
def test_a_delta_out_of_its_range_is_refused(delta: float) -> None:
    with pytest.raises(BadBudget, match="between 0 and 1"):
        Budget(1.0, delta)


def test_a_delta_that_allows_to_publish_a_row_is_refused() -> None:
    Budget(1.0, 1e-3).require_delta_for(999)
    with pytest.raises(BadBudget, match="published one of them whole"):
        Budget(1.0, 1e-3).require_delta_for(1000)
