"""The draw's promises, and values that no contract would accept."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.model import digests

PARTY = "0x" + "Ab" * 20
HASH = bytes(range(32))
COMMITMENT: dict[str, Any] = {
    "chain_id": 1,
    "federation": PARTY,
    "round_number": 1,
    "party": PARTY,
    "root": HASH,
    "cid": Cid(HASH, RAW),
    "weight": 1,
    "salt": HASH,
}
RESULT = digests.Result(1, HASH, HASH, 1, HASH, Cid(HASH, RAW))

hashes = st.binary(min_size=32, max_size=32)
stakes = st.integers(0, 2**96 - 1)


def test_an_address_is_the_same_in_any_case() -> None:
    lower = {**COMMITMENT, "party": PARTY.lower(), "federation": PARTY.lower()}
    assert digests.commitment(**lower) == digests.commitment(**COMMITMENT)


@given(hashes, stakes, st.integers(1, 2**16 - 1))
def test_a_stake_of_one_share_of_the_seats_is_always_drawn(
    seed: bytes, stake: int, participants: int
) -> None:
    """``participants`` times the stake is the total or more: a certain seat; no stake, no seat."""
    total = participants * stake
    assert digests.drawn(seed, PARTY, stake, total, participants) is (stake > 0)
    assert not digests.drawn(seed, PARTY, 0, total + 1, participants)


@given(hashes, stakes, stakes, st.integers(1, 2**112 - 1), st.integers(1, 2**16 - 1))
def test_more_stake_never_loses_a_seat(
    seed: bytes, one: int, other: int, total: int, participants: int
) -> None:
    less, more = sorted((one, other))
    if digests.drawn(seed, PARTY, less, total, participants):
        assert digests.drawn(seed, PARTY, more, total, participants)


def test_as_many_are_drawn_as_are_expected() -> None:
    parties = [f"0x{i:040x}" for i in range(1000)]
    drawn = sum(digests.drawn(HASH, party, 3, 3000, 100) for party in parties)
    assert 70 < drawn < 130


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": 256},
        {"weight": -1},
        {"round_number": 2**64},
        {"chain_id": -1},
        {"root": HASH[:31]},
        {"salt": HASH + b"\0"},
        {"party": PARTY + "00"},
        {"party": "somebody"},
    ],
    ids=str,
)
def test_a_commitment_to_impossible_values_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"uint|32 bytes|base 16"):
        digests.commitment(**{**COMMITMENT, **wrong})


@pytest.mark.parametrize(
    "make",
    [
        lambda: digests.updates_hash(HASH, PARTY, 2**96, HASH),
        lambda: digests.updates_hash(HASH, PARTY + "0", 1, HASH),
        lambda: digests.updates_hash(HASH[1:], PARTY, 1, HASH),
        lambda: digests.round_seed(HASH, HASH, -1),
        lambda: digests.drawn(HASH, "0x-1", 1, 1, 1),
        lambda: digests.commit_digest(1, PARTY, 1, PARTY, b""),
        lambda: digests.result_digest(
            1, PARTY, digests.Result(1, b"", HASH, 1, HASH, RESULT.global_cid)
        ),
        lambda: digests.result_digest(
            1, PARTY, digests.Result(1, HASH, HASH, 2**128, HASH, RESULT.global_cid)
        ),
    ],
)
def test_hashes_of_impossible_values_are_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match=r"uint|32 bytes|base 16"):
        make()


def test_a_digest_is_bound_to_its_chain_federation_and_type() -> None:
    other = "0x" + "cd" * 20
    found = {
        digests.result_digest(1, PARTY, RESULT),
        digests.result_digest(2, PARTY, RESULT),
        digests.result_digest(1, other, RESULT),
        digests.commit_digest(1, PARTY, 1, other, HASH),
        digests.commit_digest(2, PARTY, 1, other, HASH),
        digests.commit_digest(1, PARTY, 2, other, HASH),
        digests.commit_digest(1, PARTY, 1, PARTY, HASH),
    }
    assert len(found) == 7
