"""A site's own measurements: kept by rounds, bounded, and no reason to stop."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fl_orchestrator.roles.party import measurements
from fl_orchestrator.roles.party.measurements import FILE, Measurements


def test_a_round_has_what_was_measured_last(tmp_path: Path) -> None:
    kept = Measurements(tmp_path / "home")
    kept.evaluated(0, {"loss": 0.7}, ())
    kept.trained(1, {"loss": 0.5}, 20)
    kept.evaluated(1, {"loss": math.nan, "auc": 0.9}, ("loss is nan",))
    kept.trained(2, {}, 21)
    kept.trained(1, {"loss": 0.4}, 22)
    kept.revoked(1)
    zeroth, first, second = Measurements(tmp_path / "home").rounds()
    assert (zeroth.round, zeroth.evaluated, zeroth.trained) == (0, {"loss": 0.7}, {})
    assert (first.trained, first.rows, first.revoked) == ({"loss": 0.4}, 22, True)
    assert math.isnan(first.evaluated["loss"])
    assert first.evaluated["auc"] == 0.9
    assert first.faults == ["loss is nan"]
    assert (second.round, second.rows) == (2, 21)
    kept.evaluated(1, {"loss": 0.3}, ())
    assert not kept.rounds()[1].revoked


def test_damage_costs_only_the_damaged_lines(tmp_path: Path) -> None:
    kept = Measurements(tmp_path)
    assert kept.rounds() == []
    kept.trained(1, {"loss": 0.5}, 20)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'\n{"round": 2, "trained": 5}\nnull\n\xff\n{"rows": 1}\n{"round": 3, "tra')
    kept.trained(4, {"loss": 0.4}, 20)
    assert [entry.round for entry in kept.rounds()] == [1, 4]


def test_the_file_is_bounded_and_keeps_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "_MAX_FILE_BYTES", 5000)
    kept = Measurements(tmp_path)
    for number in range(300):
        kept.trained(number, {f"{'m' * 1000}{n}": 0.5 for n in range(number % 3)}, 20)
        assert (tmp_path / FILE).stat().st_size <= 5000
    rounds = [entry.round for entry in kept.rounds()]
    assert rounds == list(range(rounds[0], 300))
    assert 5 < len(rounds) < 100


def test_a_disk_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a directory")
    kept = Measurements(tmp_path / "home")
    kept.trained(1, {"loss": 0.5}, 20)
    assert kept.rounds() == []
