"""Builds observations for tests of the roles' decisions, which are pure functions."""

from __future__ import annotations

import dataclasses
from typing import Any

from fl_orchestrator.chain.types import (
    CommitView,
    ModelView,
    Observation,
    Phase,
    RoundView,
    StakeView,
)
from fl_orchestrator.content.cid import Cid

ROUND = 5
COMMITMENT = bytes(range(32))
SOME_CID = Cid(b"\7" * 32, 0x55)

_ROUND = RoundView(
    round=ROUND,
    phase=Phase.COMMIT,
    seed_block=100,
    commit_end=1_000,
    reveal_end=2_000,
    attest_end=3_000,
    commits=0,
    commit_quota=4,
    opened=0,
    reveals=0,
    active_parties=4,
    party_stake=400,
    aggregator_stake=100,
    base=ROUND - 1,
    base_root=b"\1" * 32,
    base_cid=SOME_CID,
    seed=b"\2" * 32,
    updates_hash=bytes(32),
)
_STAKE = StakeView(stake=100, frozen_stake=100, unbond_at=0, admitted=True, seat=0)
_SEEN = Observation(
    block_number=110,
    timestamp=500,
    current=_ROUND,
    head=ModelView(height=4, round=ROUND - 1, root=b"\1" * 32, cid=SOME_CID),
    final_height=4,
    finalizable_at=0,
    free_pot=0,
    party=_STAKE,
    aggregator=_STAKE,
    committed=CommitView(commitment=bytes(26), round=0, revealed=False, absent=False),
    drawn=True,
    unrevealed_slashable=False,
    missing=False,
    beneficiary="0x" + "11" * 20,
    credit=0,
)


def seen(
    phase: Phase = Phase.COMMIT,
    *,
    current: dict[str, Any] | None = None,
    **changes: Any,
) -> Observation:
    """The view of a party and aggregator in round 5; ``current`` changes fields of the round."""
    round_view = dataclasses.replace(_ROUND, phase=phase, **(current or {}))
    return dataclasses.replace(_SEEN, current=round_view, **changes)


def committed(
    revealed: bool = False, round_number: int = ROUND, commitment: bytes = COMMITMENT
) -> CommitView:
    """A commit slot, which keeps 26 bytes of the commitment."""
    return CommitView(commitment[:26], round_number, revealed, absent=False)
