"""A party commits to an update, reveals its root and CID, and gives the bytes to nobody."""

from __future__ import annotations

from support.adversary import Adversary
from support.federation import Build

from fl_orchestrator.chain.types import Phase


def test_an_update_that_nobody_has_is_left_out_and_not_paid(build: Build) -> None:
    federation = build(parties=3)
    adversary = Adversary(federation, 2)
    update = adversary.update(*adversary.file())
    honest = federation.everybody()[:2]

    federation.open_round()
    adversary.commit(update)
    federation.run_to(Phase.REVEAL, honest, 1)
    adversary.reveal(update)
    roles = [*honest, federation.aggregator(0)]
    seen = federation.run_round(roles)

    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 3)
    assert federation.included() == {0, 1}
    keeper = federation.keeper(1)
    federation.run([keeper], lambda o: federation.federation.distributed(1))
    credited = [federation.observe(key).credit for key in federation.parties]
    assert credited[0] == credited[1] > 0 == credited[2]


def test_a_round_in_which_no_update_can_be_had_is_void(build: Build) -> None:
    """All parties withhold: the aggregators sign nothing, and the next round opens."""
    federation = build(parties=2)
    adversaries = [Adversary(federation, number) for number in range(2)]
    updates = [a.update(*a.file(value=i + 1)) for i, a in enumerate(adversaries)]
    federation.open_round()
    for adversary, update in zip(adversaries, updates, strict=True):
        adversary.commit(update)
    for adversary, update in zip(adversaries, updates, strict=True):
        adversary.reveal(update)
    seen = federation.run_round([federation.aggregator(0)])
    assert (seen.current.phase, seen.head.height) == (Phase.VOID, 0)
    assert federation.federation.proposed_results(0) == {}
    assert federation.run_round(federation.everybody(), 2).current.phase is Phase.ACCEPTED
