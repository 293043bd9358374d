"""A hook in the process of a role: called once a round, and no danger to the role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.observations import SOME_CID, seen

from fl_orchestrator.chain.contract.history import HistoryHook
from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.roles.base import Step, Worker
from fl_orchestrator.roles.hooks import HookFailed, HookWorker
from fl_orchestrator.service.loop import Service
from fl_orchestrator.service.stop import Stop


class Contract:
    """A history that the test writes, and what another role has seen of it."""

    chain_id = 5
    address = "0x" + "ab" * 20

    def __init__(self) -> None:
        self.history = [ModelView(0, 0, bytes(32), SOME_CID)]
        self.last_seen: Observation | None = None
        self.observed = 0
        self.see()

    def accept(self) -> None:
        number = max(model.round for model in self.history) + 1
        self.history.append(ModelView(len(self.history), number, bytes([number] * 32), SOME_CID))
        self.see()

    def see(self) -> None:
        self.last_seen = seen(head=self.history[-1])

    def observe(self, account: str) -> Observation:
        self.observed += 1
        return seen(head=self.history[-1])

    def model(self, height: int) -> ModelView:
        return self.history[height]


class Tracker(HistoryHook):
    """A tracker that may be out of reach."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.error: Exception | None = None

    def on_accepted(self, model: ModelView) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(model.round)

    def on_revoked(self, model: ModelView) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(-model.round)


@pytest.fixture
def contract() -> Any:
    return Contract()


def test_a_hook_is_called_once_a_round_also_after_a_restart(tmp_path: Path, contract: Any) -> None:
    tracker = Tracker()
    worker = HookWorker(contract, tracker, tmp_path / "cursor.json")
    contract.accept()
    contract.accept()
    assert [worker.step().action for _ in range(3)] == ["report round", "report round", None]
    contract.history.pop()
    contract.see()
    worker = HookWorker(contract, tracker, tmp_path / "cursor.json")
    assert [worker.step().action for _ in range(2)] == ["report round", None]
    assert tracker.told == [1, 2, -2]
    assert contract.observed == 0


def test_a_hook_may_begin_with_the_head(tmp_path: Path, contract: Any) -> None:
    tracker = Tracker()
    contract.accept()
    contract.accept()
    HookWorker(contract, tracker, tmp_path / "cursor.json", from_head=True).step()
    assert tracker.told == [2]


def test_it_observes_when_no_role_has(tmp_path: Path, contract: Any) -> None:
    tracker = Tracker()
    contract.accept()
    contract.last_seen = None
    HookWorker(contract, tracker, tmp_path / "cursor.json").step()
    assert (tracker.told, contract.observed) == ([1], 1)


@pytest.mark.parametrize("revoked", [False, True])
def test_what_a_hook_raises_names_the_hook_and_the_round(
    tmp_path: Path, contract: Any, revoked: bool
) -> None:
    tracker = Tracker()
    worker = HookWorker(contract, tracker, tmp_path / "cursor.json")
    contract.accept()
    if revoked:
        worker.step()
        contract.history.pop()
        contract.see()
    tracker.error = KeyError("step")
    with pytest.raises(HookFailed, match="Tracker failed on round 1: KeyError: 'step'"):
        worker.step()
    tracker.error = None
    worker.step()
    assert tracker.told == ([1, -1] if revoked else [1])


class Party:
    """Steps until the tracker has told it of a round, so many times."""

    def __init__(self, tracker: Tracker, steps: Iterator[int]) -> None:
        self._tracker = tracker
        self._steps = steps

    def step(self) -> Step:
        if next(self._steps) == 3:
            self._tracker.error = None
        return Step()


def test_a_hook_that_fails_does_not_stop_the_other_roles_of_its_process(
    tmp_path: Path, contract: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker()
    tracker.error = ValueError("no such run")
    contract.accept()
    clock = iter(range(0, 100_000, 50))
    steps = iter(range(1_000))
    stop = Stop()
    monkeypatch.setattr(stop, "sleep", lambda _seconds: None)
    worker = HookWorker(contract, tracker, tmp_path / "cursor.json")
    workers: list[Worker] = [Party(tracker, steps), worker]
    service = Service(contract, "", workers, stop, now=lambda: next(clock))
    service.run(lambda: tracker.told == [1])
    assert next(steps) > 3
