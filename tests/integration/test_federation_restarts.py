"""Any process can be killed at any moment, and the round goes on when it is back."""

from __future__ import annotations

import shutil
from collections import Counter
from functools import partial
from typing import cast

import pytest
from support.crashes import CrashPoints, MortalRelay, MortalSender, MortalStore, Restarted
from support.federation import Build, SmallFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles import base
from fl_orchestrator.roles.party.submission import PlainSubmission


@pytest.fixture(scope="module")
def undisturbed_roots(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The models of two rounds of two parties in which nothing went wrong."""
    federation = SmallFederation(tmp_path_factory.mktemp("undisturbed"), parties=2)
    roles = federation.everybody()
    return [federation.run_round(roles, round_number).head.root for round_number in (1, 2)]


def mortal_party(
    federation: SmallFederation, number: int, points: CrashPoints, relayed: bool
) -> base.Worker:
    shutil.rmtree(federation.home("parties", number) / "vectors", ignore_errors=True)
    trainer = federation.trainers[number]
    trainer.fit = points.around("training", trainer.fit)  # type: ignore[method-assign]
    party = federation.party(
        number,
        relay=MortalRelay(federation.mailbox, points) if relayed else None,
        store=MortalStore(federation.directory / "store", points),
        sender=MortalSender(federation.sender(federation.parties[number]), points),
    )
    submission = cast(PlainSubmission, party.submission)
    submission.journal.save = points.around("journal", submission.journal.save)  # type: ignore[method-assign]
    return party


def mortal_aggregator(
    federation: SmallFederation, number: int, points: CrashPoints, relayed: bool
) -> base.Worker:
    shutil.rmtree(federation.home("aggregators", number), ignore_errors=True)
    return federation.aggregator(
        number,
        relay=MortalRelay(federation.mailbox, points) if relayed else None,
        store=MortalStore(federation.directory / "store", points),
        sender=MortalSender(federation.sender(federation.aggregators[number]), points),
    )


def mortal_keeper(federation: SmallFederation, points: CrashPoints) -> base.Worker:
    sender = MortalSender(federation.sender(federation.keeper_key), points)
    return federation.keeper(1, sender)


@pytest.mark.parametrize("relayed", [False, True], ids=["direct", "relayed"])
def test_every_process_may_die_at_every_point(
    build: Build, undisturbed_roots: list[bytes], relayed: bool
) -> None:
    """Each dies once at each point, loses its memory after every step, and its cache."""
    federation = build(parties=2)
    points = {name: CrashPoints() for name in ("party 0", "party 1", "aggregator", "keeper")}
    roles = [
        Restarted(partial(mortal_party, federation, 0, points["party 0"], relayed)),
        Restarted(partial(mortal_party, federation, 1, points["party 1"], relayed)),
        Restarted(partial(mortal_aggregator, federation, 0, points["aggregator"], relayed)),
    ]
    keeper = Restarted(partial(mortal_keeper, federation, points["keeper"]))
    seen = federation.run_round(roles, keeper=keeper)

    assert seen.current.phase is Phase.ACCEPTED
    assert seen.current.reveals == 2
    assert seen.head.root == undisturbed_roots[0]
    for key in federation.parties:
        assert federation.observe(key).party.stake == federation.terms.min_party_stake

    deaths = {name: set(p.passed) for name, p in points.items()}
    assert {"before training", "after training", "before journal", "after journal"} < deaths[
        "party 0"
    ]
    assert {"before put", "after put"} < deaths["party 0"] & deaths["aggregator"]
    assert {"before openRound", "after openRound"} <= deaths["keeper"]
    sent = Counter(receipt.label for receipt in federation.receipts)
    if relayed:
        assert {"before post_commit", "after post_reveal"} < deaths["party 0"]
        assert "after post_attestation" in deaths["aggregator"]
        assert {"after commitFor", "after reveal", "after attest"} < deaths["keeper"]
    else:
        assert {"before commit", "after commit", "before reveal", "after reveal"} < deaths[
            "party 0"
        ]
        assert {"before attest", "after attest"} < deaths["aggregator"]
        assert (sent["commit"], sent["reveal"], sent["attest"]) == (2, 2, 1)


def test_a_party_that_lost_its_journal_says_so_and_is_slashed_only(build: Build) -> None:
    federation = build(parties=3)
    roles = federation.everybody()
    federation.run_to(Phase.REVEAL, [*roles, federation.keeper(1)], 1)
    shutil.rmtree(federation.home("parties", 0))
    roles[0] = federation.party(0)
    assert roles[0].step().action is None
    seen = federation.run_round(roles)
    assert seen.current.phase is Phase.ACCEPTED
    assert (seen.current.commits, seen.current.reveals) == (3, 2)
    assert federation.observe(federation.parties[0]).unrevealed_slashable


def test_a_federation_goes_on_with_new_processes_in_every_round(
    build: Build, undisturbed_roots: list[bytes]
) -> None:
    federation = build(parties=2)
    for round_number in (1, 2):
        seen = federation.run_round(federation.everybody(), round_number)
        assert (seen.head.height, seen.head.root) == (
            round_number,
            undisturbed_roots[round_number - 1],
        )


def test_a_party_that_comes_back_in_the_next_round_takes_part(build: Build) -> None:
    federation = build(parties=3)
    first = federation.run_round(
        [federation.party(0), federation.party(1), federation.aggregator(0)]
    )
    assert (first.current.phase, first.current.commits) == (Phase.ACCEPTED, 2)
    second = federation.run_round(federation.everybody(), 2)
    assert (second.current.phase, second.current.reveals) == (Phase.ACCEPTED, 3)


def test_an_aggregator_that_comes_back_after_acceptance_signs_what_was_accepted(
    build: Build,
) -> None:
    federation = build(parties=2, aggregators=4)
    roles = [*federation.everybody()[:2], *(federation.aggregator(i) for i in range(3))]
    seen = federation.run_round(roles)
    assert seen.current.phase is Phase.ACCEPTED
    late = federation.aggregator(3)
    assert late.step().action == "attest"
    assert late.step().action is None
    digest = federation.federation.accepted_digests(0)[1]
    assert federation.federation.attestation(digest).signers == 0b1111
