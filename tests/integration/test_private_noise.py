"""A private federation with noise on its sums: who adds what, and when everybody stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.federation import head_state
from support.private_federation import SmallPrivateFederation, packed_manifest

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.fixed_point import next_state
from fl_orchestrator.model.manifest import NoiseSpec
from fl_orchestrator.model.vector_file import VectorReader
from fl_orchestrator.privacy.noise import noise_seed, with_noise
from fl_orchestrator.roles import base

CLIP, ROUNDS = 0.01, 2
NOISE = NoiseSpec(clip=CLIP, multiplier=3.0, honest=2, delta=1e-5, rounds=ROUNDS)


def update_of(party: Any, federation: SmallPrivateFederation, entry: Any) -> Any:
    with entry.path.open("rb") as stream:
        reader = VectorReader(stream, federation.manifest.layout, party._origin.update(entry.round))
        return np.concatenate(list(reader.blocks()))


def test_the_model_is_that_of_short_updates_and_noise_until_the_budget_is_spent(
    tmp_path: Path,
) -> None:
    federation = SmallPrivateFederation(tmp_path, manifest=packed_manifest(noise=NOISE))
    bits = federation.manifest.update_fraction_bits
    parties = [federation.party(i) for i in range(5)]
    roles: list[base.Worker] = [*parties, *(federation.private_aggregator(i) for i in range(4))]
    for number in range(1, ROUNDS + 1):
        before = head_state(federation)
        seen = federation.run_round(roles, number)
        assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, number)
        total = np.zeros(before.size, np.int64)
        for party in parties:
            entry = party.submission.entry(number)
            assert entry is not None
            assert entry.weight == 1
            update = update_of(party, federation, entry)
            assert 0 < np.linalg.norm(update.astype(float)) <= CLIP * 2.0**bits
            zeros = [np.zeros(before.size, np.uint32)]
            seed = noise_seed(entry.z, number)
            (added,) = with_noise(zeros, seed, NOISE.variance(bits), before.size)
            noise = added.view(np.int32)
            assert np.abs(noise).mean() > 100
            total += update + noise
        mean = np.floor_divide(2 * total + 5, 10).astype(np.int32)
        assert (head_state(federation) == next_state(before, mean, bits)).all()

    federation.open_round()
    for party in parties:
        party.step()
    assert federation.seen().current.commits == 0
    assert all(party.submission.entry(ROUNDS + 1) is None for party in parties)


def test_an_update_that_weighs_more_than_the_noise_is_for_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = packed_manifest(noise=NOISE)
    federation = SmallPrivateFederation(tmp_path, manifest=noisy)
    parties = [federation.party(i) for i in range(5)]
    cheat = parties[4].submission
    honest = cheat.prepare
    monkeypatch.setattr(
        cheat, "prepare", lambda number, vector, _weight, state: honest(number, vector, 200, state)
    )
    roles: list[base.Worker] = [*parties, *(federation.private_aggregator(i) for i in range(4))]
    seen = federation.run_round(roles)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert federation.included() == {0, 1, 2, 3}
