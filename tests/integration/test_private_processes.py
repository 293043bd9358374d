"""A private federation of real processes: a relay over HTTP, drop-outs, kills and restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.anvil_node import anvil_node
from support.federation import SmallFederation, consortium
from support.flo import PASSWORD, flo
from support.private_federation import packed_manifest
from support.private_processes import PrivateProcesses

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.aggregator.vault import Vault

PARTIES, AGGREGATORS = 5, 4


@pytest.fixture
def private(tmp_path: Path, checkout: Path) -> Iterator[PrivateProcesses]:
    """The members have two endpoints, which happen to be one node."""
    directory = tmp_path / "processes"
    directory.mkdir()
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        rpc = f"{node.url},http://localhost:{node.port}"
        federation = PrivateProcesses(directory, node, PARTIES, AGGREGATORS, rpc)
        try:
            yield federation
        finally:
            federation.stop()


def plain_roots(directory: Path) -> list[bytes]:
    """The roots of the same federation without privacy: party 4 drops out of round 2."""
    terms = consortium(PARTIES, min_updates=3)
    plain = SmallFederation(directory, PARTIES, AGGREGATORS, terms, manifest=packed_manifest())
    everybody = plain.everybody()
    first = plain.run_round(everybody, 1)
    second = plain.run_round([*everybody[:4], *everybody[5:]], 2)
    assert (first.head.round, second.head.round) == (1, 2)
    return [first.head.root, second.head.root]


def reached(round_number: int, phase: Phase) -> Callable[[Observation], bool]:
    return lambda seen: (seen.current.round, seen.current.phase) == (round_number, phase)


def check(private: PrivateProcesses) -> None:
    """What a party is told before it takes part, and that its list of trust is heeded."""
    store = ["--store", (private.directory / "store").as_uri()]
    rehearsal = ["party", "check", *private.trainer(0), *private.options("party 0"), *store]
    accounts = [private.signers[name].address for name in private.aggregators]
    found = flo(*rehearsal, "--trust", ",".join(accounts[:2]), "--json").succeeded().json
    assert found["private"]["fewest_readers"] == 3
    assert found["private"]["not_trusted"] == accounts[2:]
    told = flo(*rehearsal).succeeded().out
    assert "Who could learn what:" in told
    assert "masked update" in told
    flo(*rehearsal, "--trust", accounts[0]).refused(2, "does not trust", "read its updates")
    flo(*rehearsal, "--trust", accounts[0][:-1]).refused(2, "is not an address")


def test_two_rounds_with_kills_a_drop_out_and_an_absent_aggregator(
    private: PrivateProcesses, tmp_path: Path
) -> None:
    expected = plain_roots(tmp_path / "plain")
    check(private)
    private.start_keeper(rounds=2)
    for number in range(AGGREGATORS):
        private.start_aggregator(number, "--renew-key", "1")
    for name in private.parties:
        # From here on the relay pays for them.
        private.node.rpc("anvil_setBalance", private.signers[name].address, "0x0")
    for number in range(PARTIES):
        # Party 4 waits for some blocks before its update leaves its site.
        private.start_party(number, "--confirmations", "4" if number == 4 else "0")
    private.wait(reached(1, Phase.REVEAL), 180, "everybody has committed")
    private.kill("party 0", "keeper")
    private.start_keeper(rounds=2)
    private.start("party 0")
    private.wait(reached(1, Phase.CLAIM), 180, "everybody has revealed")
    private.kill("aggregator 0", "aggregator 1")
    private.start("aggregator 0")
    private.start("aggregator 1")
    private.wait(reached(1, Phase.ATTEST), 180, "everybody has claimed")
    private.kill("aggregator 2")
    private.start("aggregator 2")
    seen = private.wait(lambda seen: seen.head.round == 1, 180, "round 1 is accepted")
    assert seen.head.root == expected[0]

    private.wait(reached(2, Phase.REVEAL), 180, "everybody has committed in round 2")
    private.kill("party 4", "aggregator 3")
    seen = private.wait(lambda seen: seen.current.reveals == 4, 180, "four have revealed")
    private.pass_until(seen.current.reveal_end)
    seen = private.wait(
        lambda seen: seen.claims.claimed_seats.bit_count() == 3, 180, "three have claimed"
    )
    private.pass_until(seen.claims.claim_end)
    seen = private.wait(lambda seen: seen.head.round == 2, 180, "round 2 is accepted")
    assert seen.head.root == expected[1]
    assert all(private.seen(name).committed.revealed for name in private.parties[:4])
    assert not private.seen("party 4").committed.revealed

    # Each seat that was there has a new key by now, and the old one is erased later.
    private.stop()
    vault = Vault(private.home("aggregator 0") / "private" / "vault.sqlite", PASSWORD)
    assert vault.made_after >= 1
    assert vault.confirmed(2) == vault.released(2) is not None
