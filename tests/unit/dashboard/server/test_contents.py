"""What the dashboard says where looking into the store fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.federation import SmallFederation

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.dashboard.server.contents import ContentWatch


def test_a_defect_while_looking_into_the_store_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SmallFederation(tmp_path, 1)

    def broken(_store: LocalStore, _cid: Cid) -> bool:
        raise KeyError("a defect")

    monkeypatch.setattr(LocalStore, "has", broken)
    watch = ContentWatch(small.federation, small.store)
    until = time.monotonic() + 30
    while not watch.found["store"]["error"] and time.monotonic() < until:
        time.sleep(0.05)
    watch.close()
    assert watch.found["store"]["error"] == "A defect of flo: KeyError."
