"""Two endpoints must show the same before a role acts on what one of them shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.nodes.connect import RpcUnavailable
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.masked.witnesses import EndpointsDisagree, Witnesses
from fl_orchestrator.roles.party.masked import MaskedSubmission
from fl_orchestrator.roles.party.party import Party, PartySettings


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    """Round 1 is in its commit phase."""
    private = SmallPrivateFederation(tmp_path_factory.mktemp("private"), 4, 3)
    private.open_round()
    return private


Open = Callable[[], Federation]


def same(private: SmallPrivateFederation) -> Open:
    return lambda: PrivateFederation(private.chain.web3, private.federation.address)


def dead() -> Federation:
    raise RpcUnavailable("The RPC endpoint does not answer.")


class Lying(PrivateFederation):
    """A node that shows another seat's key."""

    def round_events(self, first: int, last: int) -> Any:
        found = super().round_events(first, last)
        seats = [
            dataclasses.replace(seat, values={**seat.values, "key": b"\1" * 32})
            if seat.name == "KeySet"
            else seat
            for seat in found.seats
        ]
        return dataclasses.replace(found, seats=seats)


def lying(private: SmallPrivateFederation) -> Open:
    return lambda: Lying(private.chain.web3, private.federation.address)


def witnesses(private: SmallPrivateFederation, *endpoints: Open) -> Witnesses:
    return Witnesses(endpoints, private.parties[0].address, private.deployment.block)


def test_a_single_endpoint_is_trusted_and_that_is_said_once(
    private: SmallPrivateFederation,
) -> None:
    found = witnesses(private, dead)
    with capture_logs() as lines:
        for _ in range(3):
            found.require("the seats", 1, lambda _seen: 2)
    assert [line["event"] for line in lines] == [
        "trusts its only RPC endpoint; give a second one with --rpc"
    ]


def test_two_of_three_are_enough(private: SmallPrivateFederation) -> None:
    found = witnesses(private, dead, same(private), same(private))
    found.require("the round", 1, lambda seen: seen.observation.current.round)
    with pytest.raises(EndpointsDisagree, match="Only 0 of 3 RPC endpoints show the round"):
        found.require("the round", 2, lambda seen: seen.observation.current.round)
    with pytest.raises(EndpointsDisagree, match="Only 1 of 2"):
        witnesses(private, dead, same(private)).require("it", 0, lambda _seen: 0)


def test_a_disagreement_that_stays_is_an_alert_once(private: SmallPrivateFederation) -> None:
    found = witnesses(private, same(private), same(private))

    def alerts(attempts: int, shown: int) -> int:
        with capture_logs() as lines:
            for _ in range(attempts):
                with pytest.raises(EndpointsDisagree):
                    found.require("the seats", shown, lambda _seen: 2)
        return sum(line["event"].startswith("alert: RPC endpoints") for line in lines)

    assert [alerts(5, 1), alerts(1, 1), alerts(20, 1)] == [0, 1, 0]
    found.require("the seats", 2, lambda _seen: 2)
    assert [alerts(5, 1), alerts(1, 1)] == [0, 1]


def party_with(private: SmallPrivateFederation, number: int, *endpoints: Open) -> Party:
    context = private.context(private.parties[number], private.home("parties", number))
    context = dataclasses.replace(context, endpoints=endpoints)
    return Party(context, private.trainers[number], PartySettings(0, lambda _n: bytes(32)))


def test_a_party_commits_to_what_two_endpoints_show(private: SmallPrivateFederation) -> None:
    for liar in (lying(private), dead):
        party = party_with(private, 0, same(private), liar)
        with pytest.raises(EndpointsDisagree, match="show the seats"):
            party.step()
    assert not private.seen().current.commits
    assert party_with(private, 0, lying(private), same(private), same(private)).step().action


def test_a_party_masks_for_the_commits_that_two_endpoints_show(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, 4, 3)
    parties = [private.party(i) for i in range(4)]
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    submission = party_with(private, 0, same(private), lying(private)).submission
    assert isinstance(submission, MaskedSubmission)
    entry = submission.entry(1)
    assert entry is not None
    with pytest.raises(EndpointsDisagree, match="show the commits"):
        submission.reveal(private.observe(private.parties[0]), entry, provide=False)
    assert party_with(private, 0, same(private), same(private)).step().action == "reveal"
