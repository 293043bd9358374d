"""What only a private federation's events tell: the seats of a round, its commits and its lock."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.federation import Federation, NoFederation
from fl_orchestrator.chain.contract.private import PrivateFederation, open_federation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex, SeatRow
from fl_orchestrator.chain.types import Phase, Role
from fl_orchestrator.privacy.context import Commit, commits_hash
from fl_orchestrator.privacy.keys import public_key, secret_of
from fl_orchestrator.roles.masked.rounds import MaskedRounds


def read(private: SmallPrivateFederation) -> PrivateRoundIndex:
    index = PrivateRoundIndex(private.contract, private.deployment.block)
    index.search_to(private.seen().block_number)
    return index


def test_the_seats_of_a_round_are_those_of_its_seed_block(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, parties=3, aggregators=3)
    keys = [private.vault(number).newest for number in range(3)]
    stake = private.terms.min_aggregator_stake
    accounts = [key.address for key in private.aggregators]
    rows = [SeatRow(accounts[n], stake, keys[n] or b"") for n in range(3)]
    private.open_round()
    changed = public_key(secret_of(bytes([5] * 32)))
    private.send(private.aggregators[1], private.contract.set_key(changed))
    unbond = private.contract.request_unbond(accounts[2], Role.AGGREGATOR)
    private.send(private.aggregators[2], unbond)
    assert read(private).seat_table(1) == rows
    private.pass_until(private.seen().current.attest_end + 1)
    assert private.seen().current.phase is Phase.VOID
    private.open_round()
    index = read(private)
    assert index.seat_table(1) == rows
    assert index.seat_table(2) == [rows[0], SeatRow(accounts[1], stake, changed)]
    assert index.registered_key(accounts[1]) == changed
    with pytest.raises(MissingEvents, match="round 3"):
        index.seat_table(3)


def test_commits_roll_to_the_contracts_hash(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, parties=3, aggregators=3)
    private.open_round()
    assert private.seen().claims.commits_hash == bytes(32)
    for number in (2, 0, 1):
        assert private.party(number).step().action == "commit"
    index, seen = read(private), private.seen()
    commits = [Commit(e.party, e.weight, e.mask_key) for e in index.commits(1)]
    assert [commit.party for commit in commits] == [private.parties[n].address for n in (2, 0, 1)]
    assert commits_hash(seen.current.base_root, commits) == seen.claims.commits_hash
    masked = MaskedRounds(private.contract, index).current(seen)
    assert masked.index_of(private.parties[0].address) == 1
    assert masked.position_of(private.aggregators[2].address) == 2
    assert masked.position_of(private.parties[0].address) is None


def test_a_base_has_the_list_of_the_first_lock_on_it(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, parties=4, aggregators=3)
    private.run_round(private.everybody())
    index = read(private)
    rounds = MaskedRounds(private.contract, index)
    genesis = private.params.genesis_root
    assert index.locked(1) == 0b1111
    assert rounds.list_on(genesis, before=1) is None
    members = rounds.list_on(genesis, before=2)
    assert members is not None
    assert {party for party, _ in members} == {key.address for key in private.parties}
    assert rounds.list_on(private.federation.head().root, before=2) is None


def test_an_address_is_opened_as_what_is_there(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, parties=3, aggregators=1)
    web3, address = private.chain.web3, private.deployment.address
    found = open_federation(web3, address)
    assert isinstance(found, PrivateFederation)
    assert found.private_params() == private.private
    with pytest.raises(NoFederation):
        Federation(web3, address)
    with pytest.raises(NoFederation):
        open_federation(web3, private.outsider.address)
