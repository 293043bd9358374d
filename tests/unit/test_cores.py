"""How many threads compute at a time."""

from __future__ import annotations

import os

import pytest

from fl_orchestrator.cores import cores


def test_a_process_that_was_bound_to_one_core_uses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1}, raising=False)
    assert cores() == 1


def test_where_a_system_binds_no_process_all_cores_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
