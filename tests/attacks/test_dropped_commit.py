"""A reorg drops transactions that a process has seen mined: its commit, its reveal, an acceptance.

Roles decide from the present state of the chain, so they send the same transactions again.
"""

from __future__ import annotations

import pytest
from support.federation import Build
from support.reorg import Fork

from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.types import Phase


@pytest.mark.parametrize("relayed", [False, True], ids=["direct", "relayed"])
def test_a_commit_that_a_reorg_drops_is_sent_again(build: Build, relayed: bool) -> None:
    federation = build(parties=3)
    relay = federation.mailbox if relayed else None
    roles = federation.everybody(relay)
    keeper = federation.keeper(1)
    federation.open_round()
    fork = Fork(federation.chain)
    federation.run([*roles[:2], keeper], lambda o: o.current.commits == 2)
    committed = federation.observe(federation.parties[0]).committed

    fork.reorganise()
    assert federation.observe().current.commits == 0
    federation.run([*roles, keeper], lambda o: o.current.commits == 3)
    # The same update: nothing was trained again, and no second commitment exists.
    assert federation.observe(federation.parties[0]).committed == committed
    seen = federation.run_round(roles, keeper=keeper)
    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 3)


def test_a_transaction_of_the_dropped_block_that_is_mined_again_does_no_harm(build: Build) -> None:
    """Another account that has seen the commit replays it, before and after its party does."""
    federation = build(parties=2)
    party = federation.party(0)
    federation.open_round()
    fork = Fork(federation.chain)
    party.step()
    raw = list(federation.chain.recorded())[-1].transactions[0]
    fork.reorganise()
    federation.chain.web3.eth.send_raw_transaction(raw)
    assert federation.observe().current.commits == 1
    assert party.step().action is None


def test_a_reveal_and_an_acceptance_that_a_reorg_drops_are_sent_again(build: Build) -> None:
    federation = build(parties=2, aggregators=2)
    roles = federation.everybody()
    federation.run_to(Phase.REVEAL, [*roles, federation.keeper(1)], 1)
    revealing = Fork(federation.chain)
    root = federation.run_round(roles).head.root

    revealing.reorganise()
    assert federation.observe().current.phase is Phase.REVEAL
    with pytest.raises(ContractReverted):
        federation.send(federation.outsider, federation.federation.finalize())
    seen = federation.run_round(roles)
    assert (seen.current.phase, seen.head.root) == (Phase.ACCEPTED, root)
    for key in federation.parties:
        assert federation.observe(key).party.stake == federation.terms.min_party_stake
