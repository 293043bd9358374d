"""A private federation is watched like any other: by chain and store alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.disputes import balance, off_by_one, responder, run_watchers, stakes, watcher
from support.private_disputes import open_seeds, private_events, with_wrong_seed
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.units import ETHER

SLASHED = ["slashSigner"] * 4


def undone(private: SmallPrivateFederation) -> bool:
    """Whether the first round is revoked, and everybody who signed it has lost the stake."""
    seen = private.seen()
    return (seen.head.height, seen.current.phase, stakes(private)) == (0, Phase.VOID, [0] * 4)


@pytest.mark.parametrize("drop_out", [False, True], ids=["all reveal", "one drops out"])
def test_honest_rounds_are_watched_in_silence(tmp_path: Path, drop_out: bool) -> None:
    private = SmallPrivateFederation(tmp_path)
    opened = open_seeds(private, drop_out=drop_out)
    # Of each of five parties its own seed; of each of four also the one with the absent party.
    assert len(opened.seeds) == 32 * (8 if drop_out else 5)
    opened.accept(opened.right)
    role = watcher(private)
    before = balance(private, private.outsider)
    assert run_watchers(private, role) == ["check"]
    assert [alert.kind for alert in role.alerts] == []
    assert balance(private, private.outsider) == before
    assert stakes(private) == [ETHER] * 4


@pytest.mark.parametrize("drop_out", [False, True], ids=["all reveal", "one drops out"])
@pytest.mark.parametrize("position", [0, 9])
def test_a_model_that_is_wrong_by_one_unit_is_undone(
    tmp_path: Path, drop_out: bool, position: int
) -> None:
    private = SmallPrivateFederation(tmp_path)
    opened = open_seeds(private, drop_out=drop_out)
    opened.accept(opened.wrong_model(off_by_one(position)))
    before = balance(private, private.outsider)

    done = run_watchers(private, role := watcher(private))

    proof = ["check", "registerChallenge", "challenge"]
    assert done == [*proof, *SLASHED, "withdrawRewards"]
    assert undone(private)
    (proven,) = private_events(private, "ChallengeProven")
    assert (proven["coordinate"], proven["claimed"] - proven["expected"]) == (position, 1)
    assert 0 < before + 2 * ETHER - balance(private, private.outsider) < ETHER // 10
    assert (role.alerts, role.busy) == ((), False)


@pytest.mark.parametrize(
    ("drop_out", "number"), [(False, 3), (True, 4), (True, 5)], ids=["own", "own too", "of a pair"]
)
def test_a_wrong_seed_is_proven_by_its_seal(tmp_path: Path, drop_out: bool, number: int) -> None:
    private = SmallPrivateFederation(tmp_path)
    opened = open_seeds(private, drop_out=drop_out)
    seeds = with_wrong_seed(opened.seeds, number)
    # With these seeds no coordinate of the model is wrong.
    opened.accept(opened.of_seeds(seeds), seeds)

    done = run_watchers(private, role := watcher(private))

    proof = ["check", "registerChallenge", "challengeSeed"]
    assert done == [*proof, *SLASHED, "withdrawRewards"]
    assert undone(private)
    (proven,) = private_events(private, "SeedProvenWrong")
    assert proven["number"] == number
    assert role.alerts == ()


@pytest.mark.parametrize("answered", [False, True], ids=["never answered", "answered"])
def test_a_withheld_model_is_demanded(tmp_path: Path, answered: bool) -> None:
    private = SmallPrivateFederation(tmp_path)
    opened = open_seeds(private)
    opened.accept(opened.wrong_model(off_by_one(7), withhold=True))
    before = balance(private, private.outsider)
    signer = [responder(private)] if answered else []

    done = Counter(run_watchers(private, watcher(private), *signer))

    assert (done["challenge"], done["expire"]) == ((1, 0) if answered else (0, 1))
    assert undone(private)
    # Half of the stakes, and all bonds are back.
    assert 0 < before + 2 * ETHER - balance(private, private.outsider) < ETHER // 10
