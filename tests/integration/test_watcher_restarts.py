"""Watchers that are killed at any moment, that are not alone, and that come after others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.crashes import CrashPoints, MortalSender, MortalStore, Restarted
from support.disputes import (
    accept_a_lie,
    balance,
    events,
    liar,
    responder,
    run_watchers,
    stakes,
    submit_updates,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation
from support.reorg import Fork

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.sending.send import InsufficientFunds, Receipt, Sender
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles import base
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings
from fl_orchestrator.units import ETHER

#: A secret of its own, which it has to keep on disk.
OWN = WatcherSettings()
ENDING = ("slashSigner", "withdrawRewards")


def mortal_watcher(federation: SmallFederation, points: CrashPoints) -> Watcher:
    return watcher(
        federation,
        sender=MortalSender(federation.sender(federation.outsider), points),
        store=MortalStore(federation.directory / "store", points),
        settings=OWN,
    )


def run_until_over(federation: SmallFederation, *roles: base.Worker) -> None:
    """Run until the lie is undone and nobody has anything to do any more."""
    for _ in range(100):
        taken = [role.step() for role in roles]
        if any(step.action for step in taken):
            continue
        if federation.observe().head.round == 0:
            return
        later = [step.wait.next_time(federation.chain.now) for step in taken]
        federation.pass_until(min(filter(None, later), default=federation.chain.now + 1))
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("shown", ["in the store", "by answers", "never"])
def test_a_watcher_killed_between_any_two_transactions_still_wins(
    tmp_path: Path, shown: str
) -> None:
    federation = vector_federation(tmp_path, aggregators=2)
    submit_updates(federation)
    accept_a_lie(federation, withhold=shown != "in the store")
    points = CrashPoints()
    role = Restarted(lambda: mortal_watcher(federation, points))
    before = balance(federation, federation.outsider)
    run_until_over(federation, role, *([responder(federation)] if shown == "by answers" else []))

    sent = Counter(receipt.label for receipt in federation.receipts)
    calls = {
        "in the store": ["registerChallenge", "challenge"],
        "by answers": ["demand", "descend", "registerChallenge", "challenge", "settleBond"],
        "never": ["demand", "expire", "settleBond"],
    }[shown]
    deaths = [f"{when} {c}" for c in (*calls, *ENDING) for when in ("before", "after")]
    assert set(deaths) <= set(points.passed)
    assert role.deaths >= len(deaths)
    # Nothing was sent twice.
    assert [sent[call] for call in ("registerChallenge", "challenge", "demand")] == [
        int(call in calls) for call in ("registerChallenge", "challenge", "demand")
    ]
    assert sent["slashSigner"] == 2
    assert stakes(federation) == [0, 0]
    assert 0 < before + ETHER - balance(federation, federation.outsider) < ETHER // 100


def test_a_watcher_keeps_its_secret_from_others(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    one, other = (watcher(federation, settings=OWN, home=home) for home in ("one", "other"))
    again = watcher(federation, settings=OWN, home="one")
    assert one._secret == again._secret != other._secret
    private = tmp_path / "watchers" / "one" / "private"
    assert private.stat().st_mode & 0o777 == 0o700
    # A secret that was cut off by a crash is drawn anew.
    (private / "secret").write_text("12")
    assert len(watcher(federation, settings=OWN, home="one")._secret) == 32


@pytest.mark.parametrize("shown", ["in the store", "by answers", "never"])
def test_two_watchers_at_once_undo_a_model_once(tmp_path: Path, shown: str) -> None:
    federation = vector_federation(tmp_path, aggregators=3)
    submit_updates(federation)
    accept_a_lie(federation, withhold=shown != "in the store")
    keys = (federation.outsider, federation.keeper_key)
    before = [balance(federation, key) for key in keys]
    roles = [watcher(federation, key, home=key.address) for key in keys]
    signer = [responder(federation)] if shown == "by answers" else []
    run_watchers(federation, *roles, *signer)
    assert len(events(federation, "FraudProven")) == 1
    assert stakes(federation) == [0, 0, 0]
    gained = [balance(federation, key) - old for key, old in zip(keys, before, strict=True)]
    # The one has half of the stakes, the other pays for its gas; all bonds have come back.
    assert 3 * ETHER // 2 - ETHER // 100 < max(gained) < 3 * ETHER // 2
    assert -ETHER // 100 < min(gained) < 0
    assert all(role.alerts == () for role in roles)


def test_a_fraud_that_others_have_proven_is_theirs_to_collect(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, aggregators=2)
    submit_updates(federation)
    accept_a_lie(federation)
    first = watcher(federation, federation.keeper_key, home="first")
    while first.step().action != "challenge":
        federation.chain.mine()
    late = watcher(federation)
    assert run_watchers(federation, late) == []
    assert run_watchers(federation, first, late) == [
        "slashSigner",
        "slashSigner",
        "withdrawRewards",
    ]


def test_signers_who_prove_their_own_fraud_are_slashed_by_anybody(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, aggregators=2)
    submit_updates(federation)
    accept_a_lie(federation)
    puppet = watcher(federation, federation.keeper_key, home="puppet")
    while puppet.step().action != "challenge":
        federation.chain.mine()
    # The signers' own account gets half of a slash, so it does not ask for one.
    honest = watcher(federation)
    step = honest.step()
    assert (step.action, stakes(federation)) == (None, [ETHER, ETHER])
    federation.pass_until(federation.due_at(step))
    assert run_watchers(federation, honest) == ["slashSigner", "slashSigner"]
    assert stakes(federation) == [0, 0]


def test_a_watcher_that_starts_again_computes_nothing_twice(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    for number in (1, 2):
        submit_updates(federation, number)
        federation.aggregator(0).step()
    assert run_watchers(federation, watcher(federation)) == ["check", "check"]
    assert run_watchers(federation, watcher(federation)) == []
    # Without what it remembers, it does.
    memory = tmp_path / "watchers" / "0" / "right-models.json"
    for damaged in (memory.read_text()[:-20], "[]"):
        memory.write_text(damaged)
        assert run_watchers(federation, watcher(federation)) == ["check", "check"]


def test_a_reorganisation_that_takes_its_proof_is_noticed(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation)
    role = watcher(federation)
    assert role.step().action == "check"
    fork = Fork(federation.chain)
    for action in ("registerChallenge", "challenge", "slashSigner"):
        assert role.step().action == action
        federation.chain.mine()
    fork.reorganise()
    assert (federation.observe().head.round, stakes(federation)) == (1, [ETHER])
    done = Counter(run_watchers(federation, role))
    assert (done["check"], done["challenge"], done["slashSigner"]) == (0, 1, 1)
    assert (federation.observe().head.round, stakes(federation)) == (0, [0])


def test_a_reorganisation_that_changes_the_accepted_result_is_noticed(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    fork = Fork(federation.chain)
    federation.aggregator(0).step()
    role = watcher(federation)
    assert run_watchers(federation, role) == ["check"]
    fork.reorganise()
    accept_a_lie(federation)
    done = Counter(run_watchers(federation, role))
    assert (done["challenge"], stakes(federation)) == (1, [0])


def test_a_reorganisation_that_takes_the_signatures_in_the_middle_of_a_step_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = vector_federation(tmp_path, aggregators=4)
    submit_updates(federation)
    assert liar(federation, 0).step().action == "attest"
    honest = [federation.aggregator(i) for i in range(1, 4)]
    federation.run(honest, lambda o: o.current.phase is Phase.ACCEPTED)
    role = watcher(federation)
    assert role.step().action == "check"
    with monkeypatch.context() as patch:
        patch.setattr(federation.federation, "signers", lambda *_, **__: {})
        assert role.step().action is None
    done = Counter(run_watchers(federation, role))
    assert (done["challenge"], done["slashSigner"]) == (1, 1)


class Poor(Sender):
    """Cannot pay for one call."""

    too_dear = "slashSigner"

    def send(self, call: Call) -> Receipt:
        if call.label == self.too_dear:
            raise InsufficientFunds("The account cannot pay.")
        return super().send(call)


def test_who_could_not_pay_for_a_slash_sends_it_when_it_can(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation)
    chain = federation.federation
    poor = Poor(chain.web3, federation.outsider, chain.reverts)
    role = watcher(federation, sender=poor)
    for action in ("check", "registerChallenge", "challenge"):
        assert role.step().action == action
        federation.chain.mine()
    for _ in range(5):
        with pytest.raises(InsufficientFunds):
            role.step()
    poor.too_dear = ""
    run_watchers(federation, role)
    assert stakes(federation) == [0]


def test_who_cannot_pay_for_a_proof_goes_on_checking(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation)
    submit_updates(federation, 2)
    federation.run([federation.aggregator(0)], lambda o: o.current.phase is Phase.ACCEPTED)
    chain = federation.federation
    poor = Poor(chain.web3, federation.outsider, chain.reverts)
    poor.too_dear = "registerChallenge"
    role = watcher(federation, sender=poor)
    assert [role.step().action for _ in range(2)] == ["check", "check"]
    with pytest.raises(InsufficientFunds):
        role.step()
