"""The context of a round, and the lock."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from support.golden import GOLDEN, each, unhex
from vectors.encoding import some, some_address

from fl_orchestrator.model.digests import ZERO_HASH
from fl_orchestrator.privacy.context import (
    Commit,
    ContextError,
    RoundContext,
    Seat,
    commits_hash,
    lock_of,
    seats_hash,
)
from fl_orchestrator.privacy.sets import SeatsError

COMMITS = tuple(Commit(some_address(f"p{i}"), i + 1, some(f"mask {i}")) for i in range(3))
SEATS = tuple(Seat(some_address(f"a{i}"), 10**18, some(f"seat {i}")) for i in range(4))


def as_number(text: str) -> int:
    return int.from_bytes(unhex(text), "big")


def context(**changes: Any) -> RoundContext:
    terms: dict[str, Any] = {
        "chain_id": 31337,
        "federation": some_address("federation"),
        "round_number": 3,
        "base_root": some("base"),
        "commits": COMMITS,
        "seats": SEATS,
        "secrecy": 2,
    }
    return RoundContext.of(**{**terms, **changes})


def test_a_seat_table_has_the_golden_hash() -> None:
    table: list[Seat] = []
    for row in GOLDEN["privateSeatTables"]:
        assert seats_hash(table) == unhex(row["previous"])
        table.append(Seat(row["account"], as_number(row["stake"]), unhex(row["key"])))
        assert seats_hash(table) == unhex(row["seatsHash"])


def test_commits_have_the_golden_hash() -> None:
    base = unhex(GOLDEN["privateCommitLists"][0]["previous"])
    commits: list[Commit] = []
    for row in GOLDEN["privateCommitLists"]:
        assert commits_hash(base, commits) == unhex(row["previous"])
        commits.append(Commit(row["party"], row["weight"], unhex(row["maskKey"])))
        assert commits_hash(base, commits) == unhex(row["commitsHash"])


@each("privateContexts")
def test_a_lock_is_the_golden_one(row: dict[str, Any]) -> None:
    assert lock_of(unhex(row["ctx"]), as_number(row["locked"])) == unhex(row["lock"])


def test_a_context_has_the_sets_of_its_seats() -> None:
    found = context()
    assert (found.size, len(found.sets), found.sets[0]) == (3, 6, 0b0011)
    assert found.held_by(0) == (2, 4, 5)
    assert len(context(secrecy=1).sets) == 4


def test_whatever_changes_about_a_round_changes_its_context() -> None:
    heavier = (replace(COMMITS[0], weight=9), *COMMITS[1:])
    other_key = (replace(COMMITS[0], mask_key=some("another")), *COMMITS[1:])
    poorer = (replace(SEATS[0], stake=1), *SEATS[1:])
    rekeyed = (replace(SEATS[0], key=some("another")), *SEATS[1:])
    contexts = [
        context(),
        context(chain_id=1),
        context(federation=some_address("another")),
        context(round_number=4),
        context(base_root=some("another")),
        context(commits=COMMITS[::-1]),
        context(commits=COMMITS[:2]),
        context(commits=heavier),
        context(commits=other_key),
        context(seats=SEATS[::-1]),
        context(seats=SEATS[:3]),
        context(seats=poorer),
        context(seats=rekeyed),
    ]
    for one, other in combinations(contexts, 2):
        assert one.ctx != other.ctx
        assert lock_of(one.ctx, 0b111) != lock_of(other.ctx, 0b111)


def test_another_set_of_indices_has_another_lock() -> None:
    ctx = context().ctx
    assert len({lock_of(ctx, locked) for locked in range(256)}) == 256


@pytest.mark.parametrize("count", [0, 101])
def test_a_round_with_too_few_or_too_many_commits_is_refused(count: int) -> None:
    with pytest.raises(ContextError, match=f"not {count}"):
        context(commits=COMMITS[:1] * count)


@pytest.mark.parametrize("weight", [0, 256])
def test_a_weight_out_of_range_is_refused(weight: int) -> None:
    with pytest.raises(ContextError, match=f"weight {weight}"):
        context(commits=[replace(COMMITS[0], weight=weight)])


def test_a_round_without_seats_is_refused() -> None:
    with pytest.raises(SeatsError):
        context(seats=[])


def test_a_stake_that_the_contract_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="uint96"):
        seats_hash([replace(SEATS[0], stake=2**96)])
    assert seats_hash([]) == ZERO_HASH
