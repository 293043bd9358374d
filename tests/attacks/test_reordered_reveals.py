"""A reorg changes the order of the reveals after the aggregators have signed. An attacker replays
an old signature, to have it count for the new order, or to have it slashed as false.
"""

from __future__ import annotations

import dataclasses

import pytest
from support.federation import Build
from support.reorg import Fork

from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.digests import result_digest
from fl_orchestrator.roles.relay import SignedResult


def test_a_signature_of_reveals_in_another_order_says_nothing(build: Build) -> None:
    federation = build(parties=3, aggregators=4)
    contract = federation.federation
    parties = [federation.party(i) for i in range(3)]
    federation.run_to(Phase.REVEAL, [*parties, federation.keeper(1)], 1)
    fork = Fork(federation.chain)
    for party in parties:
        assert party.step().action == "reveal"
    aggregators = [federation.aggregator(i, relay=federation.mailbox) for i in range(4)]
    for aggregator in aggregators:
        assert aggregator.step().action == "post attestation"
    posted = federation.mailbox.waiting(1, SignedResult)
    (old,) = {signed.result for signed in posted}
    signatures = [signed.signature for signed in posted]

    fork.reorganise()
    for party in reversed(parties):
        assert party.step().action == "reveal"
    assert federation.observe().current.updates_hash != old.updates_hash
    with pytest.raises(ContractReverted, match="StaleResult"):
        federation.send(federation.outsider, contract.attest(old, signatures))
    # For the new order, the signature is not valid.
    changed = dataclasses.replace(old, updates_hash=federation.observe().current.updates_hash)
    with pytest.raises(ContractReverted, match="NotAnAggregator"):
        federation.send(federation.outsider, contract.attest(changed, signatures))
    # A keeper that still holds the old signatures is not blocked by them.
    assert federation.keeper(1).step().action is None

    # The same processes see the new order, and sign it.
    seen = federation.run_round(aggregators)
    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 3)
    assert federation.included() == {0, 1, 2}
    # The result for the old order has no signer on the chain, so nobody can be slashed for it.
    digest = result_digest(contract.chain_id, contract.address, old)
    assert contract.attestation(digest).signers == 0
