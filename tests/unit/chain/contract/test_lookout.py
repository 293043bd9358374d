"""What a lookout asks the node for, and what it does if the chain or the node changes meanwhile."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.federation import SmallFederation
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract import lookout as lookout_module
from fl_orchestrator.chain.contract.logs import LoggedEvent
from fl_orchestrator.chain.contract.lookout import ACCOUNT_OF, Lookout, Place
from fl_orchestrator.chain.types import Observation, Params, Phase


@pytest.mark.parametrize("kind", [SmallFederation, SmallPrivateFederation])
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "from now on"])
def test_all_roles_of_a_round_see_what_they_would_read_themselves(
    tmp_path: Path,
    kind: type[SmallFederation],
    complete: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = kind(tmp_path, 5, 4)
    small.federation.share(small.deployment.block if complete else None)
    observe, looks = small.federation.observe, 0

    def compared(account: str) -> Observation:
        nonlocal looks
        looks += 1
        seen = observe(account)
        # Reading each is slow, and each account comes to its turn.
        if looks % 5 == 0:
            assert seen == small.federation.read_observation(account)
        return seen

    monkeypatch.setattr(small.federation, "observe", compared)
    roles = small.everybody(small.mailbox)
    seen = small.run_round([*roles[1:]], 1)
    assert (seen.current.phase, seen.current.commits) == (Phase.ACCEPTED, 4)
    # One that was absent in a round takes part in the next one.
    seen = small.run_round(roles, 2)
    assert (seen.head.round, seen.current.commits) == (2, 5)
    assert looks > 60


def test_a_block_is_read_once_for_all_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SmallFederation(tmp_path, 4, 1)
    small.federation.share(small.deployment.block)
    read, count = small.federation.read_observation, 0

    def counted(account: str) -> Observation:
        nonlocal count
        count += 1
        return read(account)

    monkeypatch.setattr(small.federation, "read_observation", counted)
    for key in (*small.parties, *small.aggregators, small.outsider) * 2:
        small.observe(key)
    assert count == 1
    small.chain.mine()
    for key in (*small.parties, *small.aggregators):
        small.observe(key)
    assert count == 2


@pytest.mark.parametrize(
    ("bloom", "may"),
    [(b"\0" * 256, True), (b"\xff" * 256, True), (b"\x01" + b"\0" * 255, False), (None, True)],
)
def test_only_a_filter_with_other_bits_says_that_a_block_has_no_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bloom: bytes | None, may: bool
) -> None:
    federation = SmallFederation(tmp_path, 1).federation
    block = {**federation.web3.eth.get_block("latest"), "logsBloom": bloom}
    monkeypatch.setattr(federation.node, "block", lambda _: block)
    place = federation.place("latest")
    assert place is not None
    assert place.has_events is may


def test_an_event_that_names_an_account_is_watched() -> None:
    """All but those that change nothing of what an observation says of the account."""
    others = {
        "AttestationSkipped": "recovered",
        "Attested": "aggregator",
        "BondSettled": "to",  # Credited comes with it.
        "ClaimSkipped": "recovered",
        "CommitSkipped": "party",
        "KeySet": "aggregator",
        "RevealSkipped": "party",
    }
    others |= dict.fromkeys(("Answered", "Announced", "ChallengeRegistered", "Demanded"), "")
    others |= dict.fromkeys(("FraudProven", "RewardsFunded"), "")
    others |= dict.fromkeys(("OwnershipTransferStarted", "OwnershipTransferred"), "")
    named = set()
    for artifact in ("Federation", "PrivateFederation"):
        for item in load_artifact(artifact).abi:
            if item["type"] == "event" and any(i["type"] == "address" for i in item["inputs"]):
                named.add(item["name"])
                of = ACCOUNT_OF.get(item["name"])
                assert of is None or of in {i["name"] for i in item["inputs"]}
    assert named == {*ACCOUNT_OF, *others}


# ---------------------------------------------------------------------- a scripted node


class Node:
    """A node whose chain and answers a test changes; one account has a credit."""

    def __init__(self, params: Params, seen: Observation) -> None:
        self._params = params
        self._seen = seen
        self.chain = [bytes([number]) * 32 for number in range(1, 6)]
        self.credit = 1
        self.events: dict[bytes, list[LoggedEvent]] = {}
        self.asked: list[str] = []
        self.moves = 0

    def params(self) -> Params:
        return self._params

    def latest(self) -> Place:
        return self._place(len(self.chain) - 1)

    def place(self, block: int | bytes) -> Place | None:
        self.asked.append("place")
        if isinstance(block, bytes):
            return self._place(self.chain.index(block)) if block in self.chain else None
        return self._place(block)

    def _place(self, number: int) -> Place:
        parent = self.chain[number - 1] if number else bytes(32)
        return Place(number, self.chain[number], parent, self.chain[number] in self.events)

    def events_in(self, place: Place) -> list[LoggedEvent]:
        self.asked.append("events")
        return self.events[place.hash]

    def read_observation(self, account: str) -> Observation:
        self.asked.append("read")
        if self.moves:
            self.moves -= 1
            self.mine()
        number = len(self.chain) - 1
        return dataclasses.replace(self._seen, block_number=number, credit=self.credit)

    def mine(self, *events: LoggedEvent) -> None:
        self.chain.append((len(self.chain) + 100).to_bytes(32, "big"))
        if events:
            self.events[self.chain[-1]] = list(events)


ACCOUNT = "0x" + 40 * "1"


def credited(amount: int) -> LoggedEvent:
    values = {"account": ACCOUNT, "amount": amount, "round": 1}
    return LoggedEvent(0, b"", 0, b"", None, "Credited", values)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Observation]:
    small = SmallFederation(tmp_path_factory.mktemp("known"), 2)
    return small.params, small.observe(small.outsider)


@pytest.fixture
def node(known: tuple[Params, Observation]) -> Node:
    return Node(*known)


def test_events_are_taken_in_block_by_block(node: Node) -> None:
    lookout = Lookout(node)
    assert lookout.observe(ACCOUNT).credit == 1
    node.mine(credited(4))
    node.mine()
    node.mine(credited(5))
    node.asked.clear()
    lookout.observe("0x" + 40 * "2")
    assert lookout.observe(ACCOUNT).credit == 1 + 4 + 5
    assert node.asked == ["place", "place", "events", "events", "read"]


def test_another_block_at_the_same_height_discards_what_was_known(node: Node) -> None:
    lookout = Lookout(node)
    lookout.observe(ACCOUNT)
    node.chain[-1] = bytes(32)
    node.credit = 7
    assert lookout.observe(ACCOUNT).credit == 7


def test_a_chain_that_does_not_continue_what_was_seen_discards_it(node: Node) -> None:
    lookout = Lookout(node)
    lookout.observe(ACCOUNT)
    node.chain[-1] = bytes(32)
    node.mine()
    node.mine()
    node.credit = 7
    assert lookout.observe(ACCOUNT).credit == 7


def test_a_chain_that_is_shorter_than_what_was_seen_discards_it(node: Node) -> None:
    lookout = Lookout(node)
    lookout.observe(ACCOUNT)
    del node.chain[-2:]
    node.credit = 7
    assert lookout.observe(ACCOUNT).credit == 7


def test_after_many_missed_blocks_an_account_is_read_again(node: Node) -> None:
    lookout = Lookout(node)
    lookout.observe(ACCOUNT)
    for _ in range(100):
        node.mine()
    node.credit = 7
    node.asked.clear()
    assert lookout.observe(ACCOUNT).credit == 7
    assert node.asked.count("place") < 20


def test_what_is_read_while_a_block_comes_is_not_kept_for_the_block_before(node: Node) -> None:
    lookout = Lookout(node)
    node.moves = 1
    assert lookout.observe(ACCOUNT).block_number == 5
    assert node.asked.count("read") == 2


def test_a_chain_that_never_stands_still_is_read_for_the_account_alone(node: Node) -> None:
    lookout = Lookout(node)
    node.moves = 100
    assert lookout.observe(ACCOUNT).block_number == len(node.chain) - 1
    assert lookout.observe(ACCOUNT).block_number == len(node.chain) - 1


def test_a_search_that_fails_half_way_leaves_nothing_that_is_half_known(node: Node) -> None:
    lookout = Lookout(node)
    lookout.observe(ACCOUNT)
    node.mine(credited(4))
    node.mine(credited(5))
    last = node.events.pop(node.chain[-1])
    node.events[node.chain[-1]] = [dataclasses.replace(last[0], values={})]
    with pytest.raises(KeyError):
        lookout.observe(ACCOUNT)
    node.credit = 10
    assert lookout.observe(ACCOUNT).credit == 10


def test_any_number_of_accounts_takes_a_bounded_memory(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout_module, "_MOST_ACCOUNTS", 3)
    lookout = Lookout(node)
    for number in range(10):
        lookout.observe(f"0x{number:040x}")
        assert len(lookout._standings) <= 3
    assert lookout.observe(ACCOUNT).credit == node.credit
