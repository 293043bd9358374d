"""What `flo up` reports of the rounds: each once, through revocations and new starts."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.federation import CLASSES, FEATURES, small_manifest
from support.observations import seen

from fl_orchestrator.chain.contract.events import READ_AGAIN, AcceptedRound, MissingEvents
from fl_orchestrator.chain.contract.history import HistoryFollower
from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentNotFound
from fl_orchestrator.model.fixed_point import genesis_state
from fl_orchestrator.model.vector_file import in_blocks, write_vector
from fl_orchestrator.roles.vectors import Origin
from fl_orchestrator.service.local.view import RoundReporter, RunMonitor

ADDRESS = "0x" + "ab" * 20
MANIFEST = small_manifest()
INCLUDED = 0b1011


class Chain:
    """A history that the test writes."""

    chain_id = 5
    address = ADDRESS

    def __init__(self, directory: Path) -> None:
        self.store = LocalStore(directory / "store")
        self._elsewhere = LocalStore(directory / "elsewhere")
        self.history: list[ModelView] = []
        self.block = 100
        self._round = -1
        self.accept()

    def accept(self, stored: bool = True) -> None:
        self._round += 1
        scale = np.float32(self._round)
        weights = [np.full((FEATURES, CLASSES), scale), np.full(CLASSES, scale)]
        file = io.BytesIO()
        state = genesis_state(MANIFEST.layout, weights)
        meta = Origin(5, ADDRESS).state(self._round)
        root = write_vector(file, MANIFEST.layout, meta, in_blocks(state)).root
        store = self.store if stored else self._elsewhere
        cid = store.put(io.BytesIO(file.getvalue()))
        self.history.append(ModelView(len(self.history), self._round, root, cid))

    def model(self, height: int) -> ModelView:
        return self.history[height]

    def look(self) -> Observation:
        return replace(seen(head=self.history[-1]), block_number=self.block)


class Up:
    """`flo up` over one directory; each ``start`` is another process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.chain = Chain(directory)
        self.shown: list[str] = []
        self.start()

    def start(self) -> None:
        chain: Any = self.chain
        monitor = RunMonitor(
            chain,
            self.chain.store,
            MANIFEST,
            self.directory / "models",
            lambda w: (w[0][0, 0], 0.5),
        )
        accepted = AcceptedRound(SimpleNamespace(included=INCLUDED), [])  # type: ignore[arg-type]
        self.events: AcceptedRound | None = accepted

        def events(*_: int) -> AcceptedRound:
            if self.events is None:
                raise MissingEvents("The node has no events of this round.")
            return self.events

        monitor._rounds = SimpleNamespace(accepted=events)  # type: ignore[assignment]
        follower = HistoryFollower(chain, self.directory / "cursor.json")
        self.reporter = RoundReporter(follower, monitor, self._show)

    def _show(self, found: dict[str, Any]) -> None:
        self.shown.append(f"{'-' if found['revoked'] else '+'}{found['round']}")

    def look(self) -> list[str]:
        """What is shown now."""
        before = len(self.shown)
        self.reporter.look(self.chain.look())
        return self.shown[before:]


@pytest.fixture
def up(tmp_path: Path) -> Up:
    return Up(tmp_path)


def test_each_accepted_round_is_measured_and_shown_once(up: Up) -> None:
    assert up.look() == []
    up.chain.accept()
    up.chain.accept()
    assert up.look() == ["+1", "+2"]
    assert up.look() == []
    found = up.reporter.rounds[1]
    assert (found["round"], found["updates"], found["loss"], found["accuracy"]) == (2, 3, 2, 0.5)
    assert found["root"] == "0x" + up.chain.history[2].root.hex()


def test_a_round_is_not_shown_again_when_the_one_above_it_is_revoked(up: Up) -> None:
    for _ in range(3):
        up.chain.accept()
        up.look()
    up.chain.history.pop()
    assert up.look() == ["-3"]
    up.chain.accept()
    assert up.look() == ["+4"]
    assert up.shown == ["+1", "+2", "+3", "-3", "+4"]
    revoked = [(found["round"], found["revoked"]) for found in up.reporter.rounds]
    assert revoked == [(1, False), (2, False), (3, True), (4, False)]


def test_what_was_accepted_while_it_was_stopped_is_shown_at_the_next_start(up: Up) -> None:
    up.chain.accept()
    up.look()
    up.chain.accept()
    up.chain.accept()
    up.start()
    assert up.look() == ["+2", "+3"]
    assert [found["round"] for found in up.reporter.rounds] == [2, 3]


def test_a_model_that_is_not_kept_any_more_is_shown_without_its_measures(up: Up) -> None:
    up.chain.accept(stored=False)
    up.chain.accept()
    assert up.look() == ["+1", "+2"]
    assert [found["accuracy"] for found in up.reporter.rounds] == [None, 0.5]


def test_the_head_is_asked_for_again_until_it_is_there(up: Up) -> None:
    up.chain.accept(stored=False)
    with pytest.raises(ContentNotFound):
        up.look()
    up.chain.store = up.chain._elsewhere
    up.start()
    assert up.look() == ["+1"]


def test_a_round_whose_events_come_later_than_its_block_is_shown_then(up: Up) -> None:
    up.chain.accept()
    events, up.events = up.events, None
    assert up.look() == []
    up.chain.block += READ_AGAIN - 2
    assert up.look() == []
    up.events = events
    assert up.look() == ["+1"]


def test_events_that_stay_away_are_an_error(up: Up) -> None:
    up.chain.accept()
    up.events = None
    assert up.look() == []
    up.chain.block += READ_AGAIN - 1
    with pytest.raises(MissingEvents):
        up.look()
