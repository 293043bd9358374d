"""Parties whose training changes nothing: their votes for "no change" count, every one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from support.federation import SmallFederation

from fl_orchestrator.chain.event_types import DuplicateUpdate
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.training.trainer import FloatArray


class Idle:
    """Learns nothing."""

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, dict[str, Any]]:
        return [np.array(weight) for weight in weights], 10, {}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, dict[str, Any]]:
        return 0.0, 10, {}


def test_equal_updates_of_zeros_count_for_every_party_in_every_round(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path)
    parties = [
        *(federation.party(number, trainer=Idle()) for number in range(2)),
        federation.party(2),
    ]
    for number in (1, 2):
        seen = federation.run_round([*parties, federation.aggregator(0)], number)
        assert seen.current.phase is Phase.ACCEPTED
        assert federation.included(number) == {0, 1, 2}
        reveals = federation.federation.revealed_updates(0, round_number=number)
        assert len({reveal.root for reveal in reveals}) == 2
    assert federation.federation.events(DuplicateUpdate, 0) == []


def test_a_federation_in_which_nobody_learns_keeps_its_model(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path)
    parties = [federation.party(number, trainer=Idle()) for number in range(3)]
    for number in (1, 2):
        federation.run_round([*parties, federation.aggregator(0)], number)
        head = federation.federation.head()
        assert (head.round, head.root) == (number, federation.genesis.root)
