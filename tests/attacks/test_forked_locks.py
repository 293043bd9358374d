"""A reorg in the claim phase gives a round another lock. Whoever has confirmed the first one does
not confirm another; and whoever waits for blocks waits for those after the present chain's lock.
"""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs
from support.private_federation import SmallPrivateFederation
from support.reorg import Fork

from fl_orchestrator.chain.types import Phase, SignedClaim
from fl_orchestrator.model.private_digests import Held
from fl_orchestrator.roles.aggregator.private import PrivateAggregator

CONFIRMATIONS = 3


def claim(private: SmallPrivateFederation, seat: int, held: int) -> None:
    """A dishonest seat claims what it likes."""
    seen = private.seen()
    message = Held(1, seen.claims.commits_hash, seen.current.updates_hash, held)
    key = private.aggregators[seat]
    signature = private.contract.sign(key, message)
    private.send(key, private.contract.claim([SignedClaim(held, signature.r, signature.vs)]))


def test_a_lock_is_confirmed_after_blocks_of_its_own_and_no_second_one(tmp_path: Path) -> None:
    # With relock the list of the base refuses nothing.
    private = SmallPrivateFederation(tmp_path, private={"relock": True})
    parties = [private.party(number) for number in range(5)]
    context = private.context(private.aggregators[0], private.home("aggregators", 0))
    vault = private.vault(0)
    patient = PrivateAggregator(context, vault, confirmations=CONFIRMATIONS)
    private.run_to(Phase.CLAIM, [*parties, private.keeper(1)], 1)
    assert patient.step().action == "claim"
    fork = Fork(private.chain)
    for seat in (1, 2, 3):
        claim(private, seat, 0b11111)
    assert private.seen().current.phase is Phase.ATTEST
    patient.step()
    assert vault.confirmed(1) is None

    fork.reorganise()
    fork = Fork(private.chain)
    for _ in range(2 * CONFIRMATIONS):
        private.chain.mine()
    for seat in (1, 2, 3):
        claim(private, seat, 0b01111)
    patient.step()
    assert vault.confirmed(1) is None
    for _ in range(CONFIRMATIONS):
        private.chain.mine()
    patient.step()
    first = vault.confirmed(1)
    assert first is not None

    # The next reorg is deeper than its confirmations.
    fork.reorganise()
    for seat in (1, 2, 3):
        claim(private, seat, 0b11110)
    with capture_logs() as logs:
        for _ in range(4 * CONFIRMATIONS):
            patient.step()
            private.chain.mine()
    # Once, though every step asks for it.
    assert [log["event"] for log in logs].count("confirms nothing") == 1
    assert vault.confirmed(1) == first
    assert vault.released(1) is None
