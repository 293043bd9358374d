"""Chunks are clipped by their norm: computed, audited and disputed like the rule that follows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disputes import (
    accept_a_lie,
    events,
    off_by_one,
    responder,
    run_watchers,
    stakes,
    submit_vectors,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation
from support.quadratic import SLOPES, Linear
from vectors import arithmetic

from fl_orchestrator import SimulationResult, simulate
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.layout import CHUNK_VALUES
from fl_orchestrator.model.rules import UnusableClip

LIMIT = 4_000
SIZE = 1_000
PARTIES = 5
WEIGHTS = [1, 2, 3]


def submit(federation: SmallFederation) -> list[list[int]]:
    """Three updates: as large as they can be, of every size, and within the limit."""
    rng = np.random.default_rng(5)
    vectors = [
        np.full(SIZE, -32_768, np.int16),
        rng.integers(-1_000, 1_000, SIZE, np.int16),
        rng.integers(-100, 100, SIZE, np.int16),
    ]
    submit_vectors(federation, 1, vectors, WEIGHTS)
    return [vector.tolist() for vector in vectors]


def within(update: list[int], limit: int) -> list[int]:
    """A model of 993 and 7 values: the last chunk of the first tensor has 225."""
    tensors = (update[:-7], update[-7:])
    return [
        value
        for tensor in tensors
        for start in range(0, len(tensor), CHUNK_VALUES)
        for value in arithmetic.clipped_chunk(tensor[start : start + CHUNK_VALUES], limit)
    ]


def states(federation: SmallFederation, updates: list[list[int]], limit: int) -> list[int]:
    """Those that follow from a model of 0.25."""
    columns = zip(*(within(update, limit) for update in updates), strict=True)
    bits = federation.manifest.update_fraction_bits
    return [
        arithmetic.next_state(2**22, arithmetic.weighted_mean(list(column), WEIGHTS), bits)
        for column in columns
    ]


def test_an_aggregator_clips_and_a_watcher_agrees(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, norm_limit=LIMIT)
    updates = submit(federation)
    aggregator = federation.aggregator(0)
    head = federation.run([aggregator], lambda seen: seen.current.phase is Phase.ACCEPTED).head
    held = aggregator._vectors.held(head.root, aggregator._origin.state(head.round))
    assert held is not None
    expected = states(federation, updates, LIMIT)
    assert aggregator._vectors.load(held).tolist() == expected
    assert expected != states(federation, updates, 0)
    role = watcher(federation)
    assert run_watchers(federation, role) == ["check"]
    assert role.alerts == ()


@pytest.mark.parametrize("withheld", [False, True], ids=["shown", "withheld"])
def test_aggregators_that_do_not_clip_are_convicted(tmp_path: Path, withheld: bool) -> None:
    federation = vector_federation(tmp_path, norm_limit=LIMIT)
    updates = submit(federation)
    unclipped = states(federation, updates, 0)
    accept_a_lie(federation, lambda _: np.array(unclipped, np.int32), withhold=withheld)
    signers = [responder(federation)] if withheld else []
    done = Counter(run_watchers(federation, watcher(federation), *signers))
    assert (done["challenge"], done["slashSigner"]) == (1, 1)
    (proven,) = events(federation, "ChallengeProven")
    assert proven["claimed"] == unclipped[0]
    assert proven["expected"] == states(federation, updates, LIMIT)[0]
    assert stakes(federation) == [0]


def test_one_unit_is_too_much_in_the_last_chunk_of_a_tensor(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, norm_limit=LIMIT)
    updates = submit(federation)
    accept_a_lie(federation, off_by_one(990))
    done = Counter(run_watchers(federation, watcher(federation)))
    assert (done["challenge"], done["slashSigner"]) == (1, 1)
    (proven,) = events(federation, "ChallengeProven")
    assert proven["expected"] == states(federation, updates, LIMIT)[990]


class Poisoned(Linear):
    """Honest while the scales are measured, then as far away as an update can say.

    It is another update in each round: the same one again would have a root that was revealed.
    """

    def fit(self, weights: list[Any], config: dict[str, Any]) -> tuple[list[Any], int, Any]:
        trained, rows, metrics = super().fit(weights, config)
        if len(self.rounds) > 1:
            trained = [weights[0] - np.float32(7 + config["round"] / 64), weights[1]]
        return trained, rows, metrics


def poisoned_run(clip_norm: float | None, **options: Any) -> SimulationResult:
    trainers: list[Linear] = [Linear(number, PARTIES) for number in range(PARTIES - 1)]
    trainers.append(Poisoned(PARTIES - 1, PARTIES))
    return simulate(
        trainers,
        rounds=8,
        aggregators=1,
        learning_rate=0.3,
        epochs=5,
        fraction_bits=12,
        clip_norm=clip_norm,
        **options,
    )


def test_a_huge_update_ruins_the_mean_and_not_that_of_clipped_chunks() -> None:
    # The tensor has an offset of -3: a norm of 1/16 is one of 1/2 there.
    ruined, clipped = poisoned_run(None), poisoned_run(1 / 16)
    away = [np.abs(run.weights["slopes"] - SLOPES).max() for run in (ruined, clipped)]
    assert away[0] > 1
    assert away[1] < 0.5
    assert clipped.rounds[-1].loss < ruined.rounds[-1].loss / 10
    assert clipped.verify()["head_root"] == clipped.head_root


def test_a_private_simulation_clips_no_chunks() -> None:
    with pytest.raises(UnusableClip, match="nobody can clip it"):
        poisoned_run(0.5, private=True)
