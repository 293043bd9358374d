"""Which writes survive a power failure: every one, but those of a simulation's roles."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from support.quadratic import Linear

from fl_orchestrator import simulate
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.files import may_be_lost, write_whole


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each fsync."""
    found: list[int] = []
    monkeypatch.setattr(os, "fsync", found.append)
    return found


def test_a_file_is_flushed_unless_it_may_be_lost(flushed: list[int], tmp_path: Path) -> None:
    def write() -> int:
        flushed.clear()
        write_whole(tmp_path / "file", "text")
        with (tmp_path / "file").open("rb") as stream:
            LocalStore(tmp_path / "store").put(stream)
        return len(flushed)

    usual = write()
    assert usual >= 4
    with may_be_lost():
        assert write() == 0
        others: list[int] = []
        thread = threading.Thread(target=lambda: others.append(write()))
        thread.start()
        thread.join()
        assert others == [usual]  # a dashboard or a tracker beside the simulation
    assert write() == usual


def test_a_simulated_round_flushes_its_record_and_not_what_its_roles_keep(
    flushed: list[int],
) -> None:
    counts: list[int] = []
    simulate(
        [Linear(number, 5) for number in range(5)],
        rounds=2,
        aggregators=1,
        evaluate=None,
        on_round=lambda _: counts.append(len(flushed)),
    )
    assert 0 < counts[1] - counts[0] <= 5
