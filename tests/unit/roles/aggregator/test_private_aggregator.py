"""An aggregator of a private federation over time: its keys, its record, and what it is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.private_federation import SmallPrivateFederation
from support.reorg import Fork

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.nodes.connect import RpcUnavailable
from fl_orchestrator.chain.sending.send import Sender, SendPolicy
from fl_orchestrator.chain.types import Phase, PrivateObservation, SignedClaim
from fl_orchestrator.roles import base
from fl_orchestrator.roles.aggregator.private import PrivateAggregator
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.masked.relay import PrivateMailbox
from fl_orchestrator.roles.masked.words import SignedWord
from fl_orchestrator.roles.relay import RelayFailed


@pytest.fixture
def private(tmp_path: Path) -> SmallPrivateFederation:
    """Three parties, and one seat, which is a quorum."""
    return SmallPrivateFederation(tmp_path, 3, 1)


def vault_of(private: SmallPrivateFederation) -> Vault:
    """With another key each time that one is drawn."""
    home = private.directory / "aggregators" / "0"
    return Vault(home / "private" / "vault.sqlite", "secret", stretch=False)


def aggregator(
    private: SmallPrivateFederation, vault: Vault, renewal: int = 1_000
) -> PrivateAggregator:
    context = private.context(private.aggregators[0], private.home("aggregators", 0))
    return PrivateAggregator(context, vault, renewal=renewal)


def key_in(private: SmallPrivateFederation, round_number: int) -> bytes:
    index = PrivateRoundIndex(private.contract, private.deployment.block)
    index.search_to(private.observe().block_number)
    return index.seat_table(round_number)[0].key


def parties(private: SmallPrivateFederation) -> list[base.Worker]:
    return [private.party(i) for i in range(3)]


def test_keys_are_renewed_and_erased_after_their_last_round(
    private: SmallPrivateFederation,
) -> None:
    vault = vault_of(private)
    roles = [*parties(private), aggregator(private, vault, renewal=2)]
    for number in range(1, 6):
        assert private.run_round(roles, number).head.round == number
    keys = [key_in(private, number) for number in range(1, 6)]
    assert keys[0] == keys[1] != keys[2] == keys[3] != keys[4]
    # The first is gone; that of the last round but one may be needed after a reorganisation.
    assert vault.secret(keys[0], 9) is None
    assert vault.secret(keys[3], 9) is not None
    assert vault.secret(keys[4], 9) is not None


def test_a_seat_that_cannot_pay_stays_with_its_key(private: SmallPrivateFederation) -> None:
    vault = vault_of(private)
    key = vault.newest
    private.run_to(Phase.CLAIM, [*parties(private), private.keeper(1)], 1)
    own = private.aggregators[0]
    mean = Sender(private.chain.web3, own, private.reverts, SendPolicy(max_fee_per_gas=1))
    context = private.context(own, private.home("aggregators", 0), sender=mean)
    role = PrivateAggregator(context, vault, renewal=1)
    with capture_logs() as logs:
        for _ in range(3):
            role._index.search_to(private.observe().block_number)
            role._keys.keep(private.contract.observe(role.address), role._index)
    failed = [log for log in logs if log["event"] == "alert: cannot register its new key"]
    assert len(failed) == 1
    assert vault.newest != key
    assert key is not None
    assert vault.secret(key, 1) is not None


def test_a_seat_that_lost_its_record_confirms_nothing_until_a_later_round(
    private: SmallPrivateFederation,
) -> None:
    first = aggregator(private, vault_of(private))
    private.run_to(Phase.REVEAL, [*parties(private), first, private.keeper(1)], 1)
    (private.directory / "aggregators" / "0" / "private" / "vault.sqlite").unlink()
    vault = vault_of(private)
    again = aggregator(private, vault)
    with capture_logs() as logs:
        seen = private.run_round([*parties(private), again], 1)
    assert seen.current.phase is Phase.VOID
    assert "alert: no record of this seat" in str(logs)
    assert vault.confirmed(1) is vault.released(1) is None
    seen = private.run_round([*parties(private), again], 2)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 2)
    assert key_in(private, 1) != key_in(private, 2) == vault.newest


def test_two_processes_of_one_seat_say_that_they_replace_each_others_key(
    private: SmallPrivateFederation, tmp_path: Path
) -> None:
    vaults = [
        vault_of(private),
        Vault(tmp_path / "other" / "vault.sqlite", "secret", stretch=False),
    ]
    vaults[1].make_key(0)
    roles = [aggregator(private, vault) for vault in vaults]
    private.open_round()

    def said(role: PrivateAggregator) -> list[str]:
        with capture_logs() as logs:
            for _ in range(3):
                role.step()
        return [log["event"] for log in logs if log["event"].startswith("alert")]

    assert said(roles[0]) == []
    # The newcomer finds the first one's key; then each finds the other's, once each time.
    for role in (roles[1], roles[0], roles[1]):
        (alert,) = said(role)
        assert "the registered key of this seat is not in this record" in alert
    index = PrivateRoundIndex(private.contract, private.deployment.block)
    index.search_to(private.observe().block_number)
    assert index.registered_key(roles[1].address) == vaults[1].newest


def test_a_seat_confirms_what_two_endpoints_show(private: SmallPrivateFederation) -> None:
    def same() -> Federation:
        return PrivateFederation(private.chain.web3, private.federation.address)

    def dead() -> Federation:
        raise RpcUnavailable("The RPC endpoint does not answer.")

    vault = vault_of(private)
    context = private.context(private.aggregators[0], private.home("aggregators", 0))
    alone = PrivateAggregator(dataclasses.replace(context, endpoints=(same, dead)), vault)
    private.run_to(Phase.ATTEST, [*parties(private), alone, private.keeper(1)], 1)
    with capture_logs() as logs:
        for _ in range(3):
            assert alone.step().action is None
    assert "alert: confirms nothing" in {log["event"] for log in logs}
    assert vault.confirmed(1) is None
    agreed = PrivateAggregator(dataclasses.replace(context, endpoints=(same, same)), vault)
    assert private.run_round([agreed], 1).head.round == 1
    assert vault.confirmed(1) is not None


class Liar(PrivateFederation):
    """An endpoint that shows a lock of more updates than were revealed."""

    def observe(self, account: str) -> PrivateObservation:
        seen = super().observe(account)
        return dataclasses.replace(seen, claims=dataclasses.replace(seen.claims, locked=2**127))


def test_a_lock_of_updates_that_nobody_revealed_is_the_lie_of_one_endpoint(
    private: SmallPrivateFederation,
) -> None:
    def true() -> Federation:
        return PrivateFederation(private.chain.web3, private.federation.address)

    def liar() -> Federation:
        return Liar(private.chain.web3, private.federation.address)

    vault = vault_of(private)
    context = private.context(private.aggregators[0], private.home("aggregators", 0))
    shown = dataclasses.replace(context, endpoints=(liar, true))
    seat = PrivateAggregator(shown, vault)
    private.run_to(Phase.ATTEST, [*parties(private), seat, private.keeper(1)], 1)
    with capture_logs() as logs:
        assert seat.step().action is None
    assert "alert: confirms nothing" in {log["event"] for log in logs}
    assert vault.confirmed(1) is None
    # A third one outvotes it.
    outvoted = dataclasses.replace(context, endpoints=(liar, true, true))
    assert private.run_round([PrivateAggregator(outvoted, vault)], 1).head.round == 1


def test_an_update_is_fetched_when_it_is_revealed_and_claimed_at_once(
    private: SmallPrivateFederation,
) -> None:
    sites, (seat, keeper) = parties(private), (private.private_aggregator(0), private.keeper(1))
    private.run_to(Phase.REVEAL, [*sites, keeper], 1)
    for site in sites[:2]:
        assert site.step().action == "reveal"
        seat.step()
    assert sites[2].step().action == "reveal"
    began = private.seen().timestamp
    seen = private.run_to(Phase.ATTEST, [seat, keeper], 1)
    assert private.seen().claims.locked == 0b111
    # What is not there is asked for again after a tenth of this time.
    assert seen.timestamp < began + private.private.claim_period // 20


class Down(PrivateMailbox):
    """A relay that takes claims and nothing later, or nothing at all."""

    def __init__(self, *, takes_claims: bool) -> None:
        super().__init__()
        self.takes_claims = takes_claims

    def post(self, round_number: int, message: object) -> None:
        if not (self.takes_claims and isinstance(message, SignedClaim)):
            raise RelayFailed("The relay does not answer.")
        super().post(round_number, message)

    def words(self, round_number: int) -> list[SignedWord]:
        raise RelayFailed("The relay does not answer.")


@pytest.mark.parametrize("takes_claims", [False, True])
def test_a_relay_that_fails_delays_no_lock(
    private: SmallPrivateFederation, takes_claims: bool
) -> None:
    private.mailbox = relay = Down(takes_claims=takes_claims)
    seat, keeper = private.private_aggregator(0, relay), private.keeper(1)
    began = private.run_to(Phase.CLAIM, [*parties(private), keeper], 1).timestamp
    seen = private.run_to(Phase.ACCEPTED, [seat, keeper], 1)
    assert seen.head.round == 1
    assert seen.timestamp < began + private.private.claim_period // 4


@pytest.mark.parametrize("phase", [Phase.CLAIM, Phase.ATTEST])
def test_what_a_reorganisation_undoes_is_posted_again_soon(
    private: SmallPrivateFederation, phase: Phase
) -> None:
    seat = private.private_aggregator(0, private.mailbox)
    # The parties are last, so that no phase passes within one turn.
    roles: list[base.Worker] = [seat, private.keeper(1), *parties(private)]
    seen = private.run_to(phase, roles, 1)
    fork, began = Fork(private.chain), seen.timestamp
    after = {Phase.CLAIM: Phase.ATTEST, Phase.ATTEST: Phase.ACCEPTED}[phase]
    private.run_to(after, roles, 1)
    fork.reorganise()
    assert private.seen().current.phase is phase
    seen = private.run_to(after, roles, 1)
    # The keeper had removed the message from the relay; the seat sends it itself much later.
    assert seen.timestamp < began + 60
