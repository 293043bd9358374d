"""What a watcher leaves alone, what it cannot prove, and what it tells people then."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.adversary import PartialStore
from support.disputes import (
    accept_a_lie,
    balance,
    events,
    responder,
    right_result,
    run_watchers,
    sign_and_accept,
    stakes,
    submit_updates,
    submit_vectors,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.model.digests import challenge_hash
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.roles.watcher.alerts import AlertKind
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings
from fl_orchestrator.units import ETHER

FAST = WatcherSettings(attempts=2, retry_seconds=10, secret=bytes(32))


def accept(federation: SmallFederation) -> None:
    """Let one honest aggregator have the current round accepted."""
    federation.run([federation.aggregator(0)], lambda o: o.current.phase is Phase.ACCEPTED)


# Honest rounds

values = st.sampled_from([-32_768, -32_767, -1, 0, 1, 2, 32_767])
rounds = st.lists(
    st.lists(st.tuples(values, st.integers(0, 2**32 - 1)), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(RuleKind), st.integers(1, 600), rounds)
def test_an_honest_history_is_never_challenged(
    tmp_path_factory: pytest.TempPathFactory,
    rule: RuleKind,
    parameters: int,
    rounds: list[list[tuple[int, int]]],
) -> None:
    """Any rule and size; updates at the limits, alike, or random; saturated states."""
    parties = max(map(len, rounds))
    federation = vector_federation(
        tmp_path_factory.mktemp("honest"),
        parameters=7 + parameters,
        rule=rule,
        updates=parties,
        min_updates=1,
        commit_period=60,
    )
    for number, updates in enumerate(rounds, start=1):
        vectors = [vector(federation, *update) for update in updates]
        submit_vectors(federation, number, vectors, weights=[1 + 84 * i for i in range(4)])
        accept(federation)
    role = watcher(federation)
    before = balance(federation, federation.outsider)
    assert run_watchers(federation, role) == ["check"] * len(rounds)
    assert (role.alerts, balance(federation, federation.outsider)) == ((), before)


def vector(federation: SmallFederation, value: int, seed: int) -> np.ndarray:
    """A vector of one value, but for a few random ones that make its root unique."""
    found = np.full(federation.manifest.layout.parameters, value, np.int16)
    generator = np.random.default_rng([seed, value & 0xFFFF, federation.chain.now])
    found[:6] = generator.integers(-32_768, 32_768, 6)
    return found


# False accusations


@pytest.mark.parametrize("coordinate", [0, 999, 1_100])
def test_a_false_accusation_costs_the_accuser_and_nobody_else(
    tmp_path: Path, coordinate: int
) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept(federation)
    role = watcher(federation)
    run_watchers(federation, role)
    parts: Recomputation = role._recomputation
    (digest,) = role._rounds.results
    result = role._rounds.results[digest]
    contract, key = federation.federation, federation.outsider
    salt = bytes(32)
    before = balance(federation, key)
    hidden = challenge_hash(key.address, 1, digest, coordinate, salt)
    federation.send(key, contract.register_challenge(hidden))
    federation.chain.mine()
    chunk = parts.prove_chunk(parts.right_file(result), coordinate // 256)
    call = parts.challenge(result, coordinate, chunk, salt)
    with pytest.raises(ContractReverted) as refused:
        federation.send(key, call)
    assert refused.value.cause is ContractError.NotFraud
    # Whoever sends it all the same pays for the gas.
    registered = balance(federation, key)
    web3 = federation.chain.web3
    raw = key.sign_transaction(
        {
            "chainId": contract.chain_id,
            "nonce": web3.eth.get_transaction_count(web3.to_checksum_address(key.address)),
            "gas": 2_000_000,
            "value": 0,
            "data": call.data,
            "to": call.to,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 10**9,
        }
    )
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(raw))
    assert receipt["status"] == 0
    assert balance(federation, key) < registered < before
    assert (federation.observe().head.round, stakes(federation)) == (1, [ETHER])
    assert events(federation, "FraudProven") == []


# What cannot be had


def test_an_update_that_cannot_be_had_is_an_alert_that_names_the_signers(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, aggregators=3)
    submit_updates(federation)
    accept_a_lie(federation)
    store = PartialStore(federation)
    lost = federation.federation.revealed_updates(0)[1]
    store.denied = {lost.cid}
    role = watcher(federation, store=store, settings=FAST)
    assert run_watchers(federation, role) == []
    (alert,) = role.alerts
    assert (alert.kind, alert.round) == (AlertKind.UPDATE_UNAVAILABLE, 1)
    assert (alert.party, alert.cid) == (lost.party, str(lost.cid))
    signers = [(s.seat, s.address) for s in alert.signers]
    assert signers == [(i, key.address) for i, key in enumerate(federation.aggregators)]
    assert json.loads(json.dumps(alert.to_json()))["signers"][2]["seat"] == 2
    assert str(lost.cid) in alert.message
    assert lost.party in alert.message
    # It says so once, goes on asking, and forgets the alert when it is needless.
    federation.pass_until(federation.chain.now + FAST.retry_seconds)
    assert (role.step().action, role.alerts) == (None, (alert,))
    store.denied = set()
    federation.pass_until(federation.chain.now + FAST.retry_seconds)
    for _ in range(5):
        role.step()
        federation.chain.mine()
    assert role.alerts == ()
    assert federation.observe().head.round == 0


def test_nobody_is_asked_for_an_update_for_ever(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept(federation)
    store = PartialStore(federation)
    store.denied = {federation.federation.revealed_updates(0)[0].cid}
    role = watcher(federation, store=store, settings=FAST)
    run_watchers(federation, role)
    federation.pass_until(federation.federation.window(1).final_at)
    step = role.step()
    assert (step.action, step.wait.next_time(0)) == (None, None)
    assert [alert.kind for alert in role.alerts] == [AlertKind.UPDATE_UNAVAILABLE]


def test_a_store_that_is_down_for_a_while_is_no_alert(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept(federation)
    store = PartialStore(federation)
    store.down = True
    role = watcher(federation, store=store, settings=FAST)
    assert federation.due_at(role.step()) == federation.chain.now + FAST.retry_seconds
    store.down = False
    federation.pass_until(federation.chain.now + FAST.retry_seconds)
    assert run_watchers(federation, role) == ["check"]
    assert role.alerts == ()


def test_a_right_base_that_nobody_shows_is_computed_again(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    store = PartialStore(federation)
    for number in (1, 2, 3):
        submit_updates(federation, number)
        accept(federation)
        if number < 3:
            store.denied.add(federation.observe().head.cid)
    role = watcher(federation, store=store)
    assert run_watchers(federation, role) == ["check"] * 3
    # Nor does a process need its files again that starts after the others were checked.
    for path in (tmp_path / "watchers" / "0" / "vectors").iterdir():
        path.unlink()
    submit_updates(federation, 4)
    accept(federation)
    store.denied.add(federation.federation.model(3).cid)
    again = watcher(federation, store=store)
    assert run_watchers(federation, again) == ["check"]
    assert again.alerts == ()


def test_a_wrong_base_that_nobody_shows_dies_before_it_matters(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, fraud_slash_bps=5_000)
    submit_updates(federation)
    accept_a_lie(federation, withhold=True)
    submit_updates(federation, 2)
    # The liars can go on, since they have their own model.
    accept(federation)
    role = watcher(federation, settings=FAST)
    done = Counter(run_watchers(federation, role, responder(federation)))
    assert (done["challenge"], federation.observe().head.round) == (1, 0)
    assert role.alerts == ()


# What is too late, or not a matter of numbers


def test_a_wrong_model_that_is_final_is_an_alert(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation)
    federation.pass_until(federation.federation.window(1).final_at)
    federation.send(federation.keeper_key, federation.federation.finalize())
    role = watcher(federation)
    assert run_watchers(federation, role) == ["check"]
    assert [(a.kind, a.round) for a in role.alerts] == [(AlertKind.TOO_LATE, 1)]
    # Later rounds are checked all the same.
    submit_updates(federation, 2)
    accept(federation)
    assert run_watchers(federation, role) == ["check"]
    assert len(role.alerts) == 1


def test_a_right_model_under_another_files_cid_is_an_alert(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    elsewhere = cid_of(io.BytesIO(b"nothing"))
    result = dataclasses.replace(right_result(federation), global_cid=elsewhere)
    sign_and_accept(federation, result)
    role = watcher(federation)
    assert run_watchers(federation, role) == ["check"]
    assert [(a.kind, a.cid) for a in role.alerts] == [(AlertKind.WRONG_CID, str(elsewhere))]
    # A process that starts again does not need to compute it to say so.
    again = watcher(federation)
    assert run_watchers(federation, again) == []
    assert again.alerts == role.alerts


def test_a_node_without_the_events_of_a_round_is_not_believed(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept(federation)
    context = federation.context(federation.outsider, tmp_path / "blind")
    blind = Watcher(
        dataclasses.replace(context, deployed_at=federation.observe().block_number), FAST
    )
    submit_updates(federation, 2)
    accept(federation)
    assert blind.step().action is None
    with pytest.raises(MissingEvents):
        blind.step()
