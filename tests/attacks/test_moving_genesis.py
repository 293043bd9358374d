"""An owner deploys a federation whose first model has a momentum already.

The model that the parties look at is a good one, and moves on its own in every round after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.federation import SmallFederation, small_manifest

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.fixed_point import genesis_state
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles import setup
from fl_orchestrator.roles.vectors import MovingGenesis

MOVING = RuleSpec.of(RuleKind.WEIGHTED_MEAN, server_momentum_bps=9_000)


def test_parties_refuse_a_genesis_that_moves_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moving(*arguments: Any) -> NDArray[np.int32]:
        state = genesis_state(*arguments)
        state[-1] = 1  # the last value of the momentum
        return state

    monkeypatch.setattr(setup, "genesis_state", moving)
    federation = SmallFederation(tmp_path, manifest=small_manifest(rule=MOVING))
    federation.open_round()
    party = federation.party(0)
    step = party.step()
    assert step.action is None
    assert federation.observe().current.commits == 0
    base = party._vectors.held(federation.genesis.root, party._origin.state(0))
    assert base is not None
    with pytest.raises(MovingGenesis, match="a momentum that is not zero"):
        party._vectors.load(base)


def test_parties_accept_a_genesis_whose_momentum_is_zero(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, manifest=small_manifest(rule=MOVING))
    federation.open_round()
    federation.run(
        [federation.party(i) for i in range(3)] + [federation.aggregator(0)],
        lambda seen: seen.current.phase is Phase.ACCEPTED,
    )
    assert federation.observe().head.round == 1
