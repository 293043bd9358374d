"""Honest seats are on different forks, of which each has another lock, and dishonest ones on all.

Each honest seat confirms the lock of its fork and no other one. Dishonest ones confirm all locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, combinations_with_replacement, product

from fl_orchestrator.privacy.context import Commit, RoundContext, Seat
from fl_orchestrator.privacy.keys import public_key, secret_of
from fl_orchestrator.roles.masked.rounds import MaskedRound

FORKS = 3
KEY = public_key(secret_of(b"any key".ljust(32)))
Enough = Callable[[Sequence[int]], bool]


def round_of(stakes: Sequence[int]) -> MaskedRound:
    context = RoundContext.of(
        chain_id=1,
        federation="0x" + "11" * 20,
        round_number=1,
        base_root=bytes(32),
        commits=[Commit(f"0x{number + 1:040x}", 1, KEY) for number in range(3)],
        seats=[Seat(f"0x{seat + 1:040x}", stake, KEY) for seat, stake in enumerate(stakes)],
        secrecy=2,
    )
    return MaskedRound(1, bytes(32), context, ())


def released(enough: Enough, seats: int, dishonest: Sequence[int]) -> Iterator[int]:
    """For each split of the honest seats: how many locks have enough confirmations."""
    honest = [seat for seat in range(seats) if seat not in dishonest]
    for forks in product(range(FORKS), repeat=len(honest)):
        on = [[s for s, f in zip(honest, forks, strict=True) if f == fork] for fork in range(FORKS)]
        yield sum(bool(there) and enough((*there, *dishonest)) for there in on)


def most(rule: Callable[[MaskedRound, Sequence[int]], Enough]) -> tuple[int, int]:
    """The most locks that are released in any split, and how many splits there were."""
    found: list[int] = []
    for size in range(1, 6):
        for stakes in combinations_with_replacement((1, 2, 3), size):
            enough = rule(round_of(stakes), stakes)
            for count in range(size):
                for dishonest in combinations(range(size), count):
                    if 3 * sum(stakes[seat] for seat in dishonest) < sum(stakes):
                        found += released(enough, size, dishonest)
    return max(found), len(found)


def test_no_two_locks_of_a_round_are_released_on_any_forks() -> None:
    locks, splits = most(lambda masked, _: masked.is_quorum)
    assert locks == 1
    assert splits > 4_375


def test_with_a_majority_instead_of_a_quorum_two_would_be() -> None:
    def majority(_: MaskedRound, stakes: Sequence[int]) -> Enough:
        return lambda seats: 2 * sum(stakes[seat] for seat in seats) > sum(stakes)

    assert most(majority)[0] > 1
