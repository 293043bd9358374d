"""What the processes of a mirror ask its node for: each block's events once, and again after a
reorganisation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.disputes import accept_a_lie, submit_updates, vector_federation
from support.federation import SmallFederation
from support.mirrors import AtHome, MirrorSite, carry
from support.reorg import Fork

from fl_orchestrator.chain.contract.events import READ_AGAIN
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import RoundAccepted
from fl_orchestrator.chain.mirror.index import MirrorIndex
from fl_orchestrator.chain.mirror.types import MirrorEvents
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.units import ETHER

ROUNDS = 3
DEMANDS = 5
QUIET_BLOCKS = 5 * READ_AGAIN


class Mirrored:
    """A federation with some final rounds, and a mirror of it on another chain."""

    def __init__(self, directory: Path) -> None:
        self.federation = vector_federation(directory / "home", updates=2)
        for number in range(1, ROUNDS + 1):
            _accept(self.federation, number)
        self.chain = DevelopmentChain({self.federation.outsider.address: 1_000 * ETHER})
        at_home = AtHome.of_small(self.federation)
        self.site = MirrorSite(at_home, self.chain.web3, directory / "mirror")
        self.asked: list[tuple[int, int]] = []

    def demand(self) -> None:
        """Demand the root's node of the head."""
        mirror = self.site.mirror
        submission = mirror.head().submission
        bond = mirror.params().demand_bond * (1 + mirror.window(submission).open_descents)
        depth = mirror.params().state_depth
        self.site.sender().send(mirror.demand(submission, depth, 0, bond))

    def record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note the range of each request for the mirror's logs."""
        node = self.site.mirror.node
        logs = node.logs

        def noting(wanted: Any) -> Any:
            self.asked.append((wanted["fromBlock"], wanted["toBlock"]))
            return logs(wanted)

        monkeypatch.setattr(node, "logs", noting)

    def asked_by(self, act: Callable[[], object]) -> list[tuple[int, int]]:
        self.asked.clear()
        act()
        return [*self.asked]


def _accept(federation: SmallFederation, number: int) -> None:
    """Have a round accepted, with its model in the store, and final."""
    submit_updates(federation, number)
    accept_a_lie(federation, lambda right: right)
    federation.pass_until(federation.observe().finalizable_at)
    federation.send(federation.outsider, federation.federation.finalize())


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirrored:
    case = Mirrored(tmp_path)
    case.record(monkeypatch)
    return case


def test_a_step_asks_for_new_blocks_only_however_long_the_history_is(mirrored: Mirrored) -> None:
    carrier, guard = mirrored.site.carrier(), mirrored.site.watcher()
    widths = []
    for _ in range(ROUNDS):
        assert carrier.step().action == "mirror"
        for _ in range(QUIET_BLOCKS):
            mirrored.chain.mine()
        for _ in range(DEMANDS):
            mirrored.demand()
        asked = []
        for process in (carrier, guard):
            for _ in range(DEMANDS):
                asked += mirrored.asked_by(process.step)
        widths.append([last - first + 1 for first, last in asked])
    # A request for each answer that was sent in between, and one for each process before them.
    assert widths[1] == widths[2]
    assert len(widths[1]) == DEMANDS + 1
    assert max(widths[1]) <= QUIET_BLOCKS + 3 * DEMANDS + READ_AGAIN
    assert mirrored.asked_by(guard.step) == []
    assert len(mirrored.site.mirror.answers(0)) == ROUNDS * DEMANDS


def test_a_round_is_carried_without_a_search_of_the_rounds_before(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = mirrored.federation.federation
    accepted = {one.round: one.block_number for one in federation.events(RoundAccepted, 0)}
    asked = []
    logged = federation.logged

    def noting(name: str, first: int, *place: Any) -> Any:
        asked.append(first)
        return logged(name, first, *place)

    monkeypatch.setattr(federation, "logged", noting)
    assert carry(mirrored.site.carrier()) == ["mirror"] * ROUNDS
    # Each search begins where the one before has found something.
    assert asked == [mirrored.federation.deployment.block, accepted[1], accepted[2]]


def test_signatures_that_a_reorganisation_has_moved_to_earlier_blocks_are_found(
    mirrored: Mirrored,
) -> None:
    results = mirrored.site.carrier()._results
    last = mirrored.federation.federation.latest().number
    signed = results.of_round(2, last).signatures
    # As if round 1 had been attested in later blocks, before the reorganisation.
    results._begun[1] = last
    assert results.of_round(2, last).signatures == signed != {}


def test_a_demand_that_a_reorganisation_drops_is_forgotten_and_one_that_it_brings_is_found(
    mirrored: Mirrored,
) -> None:
    carry(mirrored.site.carrier())
    mirror = mirrored.site.mirror
    index = MirrorIndex(mirror, mirrored.site.deployment.block)
    index.search_to(mirror.latest().number)
    fork = Fork(mirrored.chain)
    mirrored.demand()
    mirrored.demand()
    assert not index.search_to(mirror.latest().number)
    assert sorted(index.demands) == [1, 2]
    fork.reorganise()
    for _ in range(3):
        mirrored.chain.mine()
    mirrored.demand()
    assert index.search_to(mirror.latest().number)
    assert sorted(index.demands) == [1]
    assert index.demands[1].block_number == mirror.latest().number
    assert sorted(one.result.round for one in index.submissions.values()) == [1, 2, 3]


def test_a_carrier_answers_the_demands_of_the_branch_that_stays(mirrored: Mirrored) -> None:
    carrier = mirrored.site.carrier()
    carry(carrier)
    fork = Fork(mirrored.chain)
    mirrored.demand()
    assert carry(carrier) == ["answer"]
    fork.reorganise()
    mirrored.chain.mine()
    mirrored.demand()
    # It has the number of the one that is gone, whose answer is gone too.
    assert carry(carrier) == ["answer"]
    assert [answer.id for answer in mirrored.site.mirror.answers(0)] == [1]


def test_a_node_that_hides_a_demand_is_found_out_and_asked_for_everything_again(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier, mirror = mirrored.site.carrier(), mirrored.site.mirror
    carry(carrier)
    mirrored.demand()
    for _ in range(3):
        mirrored.chain.mine()
    with monkeypatch.context() as lying:
        events = mirror.mirror_events

        def hidden(first: int, last: int) -> MirrorEvents:
            found = events(first, last)
            return MirrorEvents(found.results, [], [], found.frauds, found.seats)

        lying.setattr(mirror, "mirror_events", hidden)
        with pytest.raises(UntrueEvents, match="demand 1, which the contract has, is missing"):
            carrier.step()
    (asked,) = mirrored.asked_by(carrier.step)
    assert asked[0] == mirrored.site.deployment.block
    assert [answer.id for answer in mirror.answers(0)] == [1]
