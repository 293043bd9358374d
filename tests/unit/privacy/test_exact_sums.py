"""Whole private rounds as bytes: whoever drops out, S is the plain sum of the included updates.

A scenario is drawn from a seed. Parties drop out before the reveal, are unavailable to some seats,
misdeal in public or to one seat; seats are away while a quorum is there.
"""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.private import PrivateRound
from vectors.arithmetic import weighted_mean

from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.privacy.masks import masks_of, weighted, with_masks
from fl_orchestrator.privacy.opening import Opening
from fl_orchestrator.privacy.release import (
    ReleasedPieces,
    labels_for_expulsion,
    labels_for_lock,
    make_release,
    max_release_bytes,
)
from fl_orchestrator.privacy.seal import Seal, parse_seal, right_shares
from fl_orchestrator.privacy.unmask import steps, sums

STEP_LIMIT = 32_767
MISDEALS = ("seed", "correction")


@dataclass(frozen=True)
class Outcome:
    """What a reader of the chain and the store finds."""

    locked: frozenset[int]
    included: tuple[int, ...]
    totals: NDArray[np.int32]
    step: NDArray[np.int16]


class Scenario:
    """One round; every choice comes from the seed."""

    def __init__(
        self, parties: int, stakes: list[int], secrecy: int, values: int, seed: int
    ) -> None:
        self.draw = random.Random(seed)
        self.weights = [self.draw.randint(1, 255) for _ in range(parties)]
        self.made = PrivateRound.of(self.weights, stakes, secrecy, seed)
        self.context, self.values = self.made.context, values
        numbers = np.random.default_rng(seed)
        self.updates = [numbers.integers(-32_768, 32_768, values, np.int16) for _ in self.weights]
        self.seals = list(self.made.seals)
        self.reveals = [k for k in range(parties) if self.draw.random() < 0.9]
        self.draw.shuffle(self.reveals)
        self.misdealers: set[int] = set()
        self.away: set[int] = set()
        self.unavailable: set[tuple[int, int]] = set()  # (k, position), until the lock

    def masked(self, k: int) -> NDArray[np.uint32]:
        x = weighted(self.updates[k], self.weights[k])
        masks = masks_of(self.made.dealings[k])
        return np.concatenate(list(with_masks(in_blocks(x, 16), masks, self.values)))

    def misdeal(self, k: int, kind: str, label: int) -> None:
        """In public: the seal passes every check of every seat, but a seed is wrong."""
        seal, wrong = self.seals[k], keccak256(b"wrong")
        self.misdealers.add(k)
        if kind == "seed":
            hashes = (*seal.hashes[:label], wrong, *seal.hashes[label + 1 :])
            self.seals[k] = replace(seal, hashes=hashes)
        elif label != k:  # seats refuse a correction of the own seed
            corrections = (*seal.corrections[:label], wrong, *seal.corrections[label + 1 :])
            self.seals[k] = replace(seal, corrections=corrections)

    def misdeal_to(self, k: int, position: int) -> None:
        """To one seat: its first share is wrong, if it has any."""
        seal = self.seals[k]
        shares = (keccak256(b"wrong"), *seal.shares[position][1:])[: len(seal.shares[position])]
        everybody = (*seal.shares[:position], shares, *seal.shares[position + 1 :])
        self.seals[k] = replace(seal, shares=everybody)

    def shares_of(self, position: int, seals: dict[int, Seal]) -> dict[int, dict[int, bytes]]:
        secret = self.made.seat_secrets[position]
        return {k: right_shares(self.context, k, s, position, secret) for k, s in seals.items()}

    def lock(self, seals: dict[int, Seal]) -> int:
        """What more than 2/3 of the stake claims; seats that are away do not."""
        stakes = [seat.stake for seat in self.context.seats]
        claimed = dict.fromkeys(seals, 0)
        for position in self.present():
            held = self.context.held_by(position)
            for k, shares in self.shares_of(position, seals).items():
                if len(shares) == len(held) and (k, position) not in self.unavailable:
                    claimed[k] += stakes[position]
        return sum(1 << k for k, stake in claimed.items() if 3 * stake > 2 * sum(stakes))

    def present(self) -> list[int]:
        return [p for p in range(len(self.context.seats)) if p not in self.away]

    def run(self) -> Outcome:
        seals = {k: parse_seal(self.context, k, self.seals[k].to_bytes()) for k in self.reveals}
        locked = self.lock(seals)
        chosen = {k: seal for k, seal in seals.items() if locked >> k & 1}
        released, expelled = ReleasedPieces(self.context, chosen), set[int]()
        self.publish(released, chosen, list(labels_for_lock(self.context.size, locked)), locked)
        while new := {proof.k for proof in released.misdealt()} - expelled:
            for k in new:
                expelled.add(k)
                self.publish(released, chosen, list(labels_for_expulsion(locked, k)), locked)
        places = sum(
            1 << place
            for place, k in enumerate(self.reveals)
            if locked >> k & 1 and k not in expelled
        )
        opening = Opening.of(self.context.size, self.reveals, places)
        seeds = opening.collect(released)
        assert seeds is not None
        assert opening.wrong_seeds(seeds, {k: seal.hashes for k, seal in chosen.items()}) == ()
        return self.unmasked(frozenset(chosen), opening, seeds)

    def publish(
        self,
        released: ReleasedPieces,
        seals: dict[int, Seal],
        labels: list[tuple[int, int]],
        locked: int,
    ) -> None:
        """Every seat that is there releases; after the lock it has got what was unavailable."""
        for position in self.present():
            data = make_release(self.context, labels, self.shares_of(position, seals))
            assert len(data) <= max_release_bytes(self.context, locked, position)
            released.add(data)

    def unmasked(self, locked: frozenset[int], opening: Opening, seeds: bytes) -> Outcome:
        if not opening.included:
            nothing = np.empty(0)
            return Outcome(locked, (), nothing.astype(np.int32), nothing.astype(np.int16))
        updates = [in_blocks(self.masked(k), 16) for k in opening.included]
        totals = list(sums(updates, opening.masks(seeds), self.values))
        weight = sum(self.weights[k] for k in opening.included)
        found = np.concatenate(list(steps(totals, weight, STEP_LIMIT)))
        return Outcome(locked, opening.included, np.concatenate(totals), found)

    def check(self, outcome: Outcome) -> None:
        """The sum is exact, and every honest locked party is in it."""
        assert set(outcome.included) >= outcome.locked - self.misdealers
        weights = [self.weights[k] for k in outcome.included]
        for n in range(self.values if weights else 0):
            column = [int(self.updates[k][n]) for k in outcome.included]
            assert outcome.totals[n] == sum(w * q for w, q in zip(weights, column, strict=True))
            assert outcome.step[n] == weighted_mean(column, weights)


STAKES = st.lists(st.integers(1, 4), min_size=1, max_size=6)


def quorum_stays_without(stakes: list[int], away: set[int]) -> bool:
    return 3 * sum(s for p, s in enumerate(stakes) if p not in away) > 2 * sum(stakes)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 12), STAKES, st.integers(1, 2), st.integers(1, 40), st.integers(0, 2**32))
def test_the_sum_is_exact_whoever_drops_out(
    parties: int, stakes: list[int], secrecy: int, values: int, seed: int
) -> None:
    scenario = Scenario(parties, stakes, secrecy, values, seed)
    draw = scenario.draw
    for position in range(len(stakes)):
        if draw.random() < 0.4 and quorum_stays_without(stakes, {*scenario.away, position}):
            scenario.away.add(position)
    for k in range(parties):
        if draw.random() < 0.15:
            scenario.misdeal(k, draw.choice(MISDEALS), draw.randrange(parties))
        if draw.random() < 0.2:
            scenario.unavailable |= {(k, p) for p in range(len(stakes)) if draw.random() < 0.5}
    outcome = scenario.run()
    scenario.check(outcome)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 8), STAKES, st.integers(1, 2), st.integers(0, 2**32))
def test_a_share_that_one_seat_did_not_get_is_no_harm_while_others_have_it(
    parties: int, stakes: list[int], secrecy: int, seed: int
) -> None:
    scenario = Scenario(parties, stakes, secrecy, 8, seed)
    k, position = scenario.draw.randrange(parties), scenario.draw.randrange(len(stakes))
    scenario.misdeal_to(k, position)
    outcome = scenario.run()
    scenario.check(outcome)
    held = scenario.context.held_by(position)
    if k in scenario.reveals and held:
        stays = quorum_stays_without(stakes, {position})
        assert (k in outcome.locked) == stays


@pytest.mark.parametrize("misdealt", [True, False])
@pytest.mark.parametrize("secrecy", [1, 2])
def test_parties_that_misdealt_are_expelled_one_after_another(secrecy: int, misdealt: bool) -> None:
    """1 misdeals about 2, which only shows when 2 is expelled, as 0 misdeals about 1."""
    scenario = Scenario(6, [3, 2, 2, 1], secrecy, 20, seed=4)
    scenario.reveals = [5, 2, 0, 1, 3]
    if misdealt:
        scenario.misdeal(2, "seed", 4)
        scenario.misdeal(1, "correction", 2)
        scenario.misdeal(0, "seed", 1)
    outcome = scenario.run()
    assert outcome.locked == {0, 1, 2, 3, 5}
    assert outcome.included == ((5, 3) if misdealt else (5, 2, 0, 1, 3))
    scenario.check(outcome)


def test_a_lie_about_a_seed_that_stays_closed_is_nobodys_concern() -> None:
    scenario = Scenario(4, [1, 1, 1, 1], 2, 20, seed=5)
    scenario.reveals = [0, 1, 2]
    scenario.misdeal(1, "seed", 2)
    outcome = scenario.run()
    assert outcome.included == (0, 1, 2)
    scenario.check(outcome)


@pytest.mark.parametrize("missing", range(3))
def test_a_sum_with_one_seed_less_is_not_the_sum(missing: int) -> None:
    """The test above can fail: without one of the masks, everything is wrong."""
    scenario = Scenario(3, [1, 1, 1, 1], 2, 20, seed=6)
    scenario.reveals = [0, 1, 2]
    masked = [in_blocks(scenario.masked(k), 16) for k in range(3)]
    masks = Opening(3, (0, 1, 2)).masks(
        b"".join(scenario.made.dealings[k].seeds[k] for k in range(3))
    )
    left = [*masks.subtracted[:missing], *masks.subtracted[missing + 1 :]]
    totals = np.concatenate(list(sums(masked, replace(masks, subtracted=tuple(left)), 20)))
    plain = sum(weighted(scenario.updates[k], scenario.weights[k]).view(np.int32) for k in range(3))
    assert (totals != plain).all()
