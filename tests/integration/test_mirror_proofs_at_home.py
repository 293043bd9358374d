"""A quorum signs a wrong model for a mirror. Where the federation has a signature of it too, the
watcher that guards the mirror has its signer slashed at home."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from support.disputes import (
    liar,
    off_by_one,
    posted_result,
    right_result,
    run_watchers,
    sign_and_accept,
    stakes,
    submit_updates,
    vector_federation,
)
from support.mirrors import AtHome, MirrorSite
from support.reorg import Fork
from web3 import Web3

from fl_orchestrator.chain.event_types import counted
from fl_orchestrator.chain.mirror.types import FraudRecorded, MirrorEvents
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import InsufficientFunds
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.model.digests import Result
from fl_orchestrator.roles.mirror.evidence import SignedResult
from fl_orchestrator.roles.relay import Mailbox
from fl_orchestrator.roles.watcher.mirrored import MirrorWatcher
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings
from fl_orchestrator.units import ETHER

PROVEN = ["registerChallenge", "challenge"]
WRONG = "the mirrored model of round 1 is wrong"
REFUSED = "the mirror has refused a wrong model of round 1, which "
NO_SIGNATURE = (
    f"{REFUSED}cannot be proven at home: the federation has counted no signature for it, so it "
    "cannot slash its signers"
)
TOO_LATE = (
    f"{REFUSED}cannot be proven at home: its window there is over, so its signers keep their stakes"
)
# More steps than any of these tests takes.
STEPS = 100


class TwoFaced:
    """A federation of two aggregators that accepted the right model, and its mirror.

    ``wrong`` and ``other`` are signed by both for the mirror. With ``attested`` the federation has
    counted a signature of the first one too; alone it is no quorum.
    """

    def __init__(self, directory: Path, *, attested: bool) -> None:
        self.federation = vector_federation(directory / "home", updates=2, aggregators=2)
        submit_updates(self.federation)
        self.wrong = self._lie(3)
        self.other = self._lie(5)
        self.right = right_result(self.federation)
        if attested:
            for result in (self.wrong, self.other):
                self._attest(result, 0)
        sign_and_accept(self.federation, self.right)
        self.chain = DevelopmentChain(
            {key.address: 1_000 * ETHER for key in (self.me, self.federation.keeper_key)}
        )
        at_home = AtHome.of_small(self.federation)
        self.site = MirrorSite(at_home, self.chain.web3, directory / "mirror")

    def _lie(self, place: int) -> Result:
        mailbox = Mailbox()
        liar(self.federation, 0, off_by_one(place), relay=mailbox).step()
        return posted_result(mailbox, self.federation)

    def _attest(self, result: Result, number: int) -> None:
        contract, key = self.federation.federation, self.federation.aggregators[number]
        call = contract.attest(result, [contract.sign_result(key, result)])
        self.federation.send(self.federation.keeper_key, call)

    @property
    def me(self) -> LocalSigner:
        """Whose watcher it is."""
        return self.federation.outsider

    def submit(self, result: Result) -> None:
        """Mirror a result that both aggregators sign."""
        reveals = counted(self.federation.federation.revealed_updates(0))
        like = SignedResult(b"", result, tuple(reveals), {})
        self.site.submit(self.site.signed_by_all(like, result))

    def proven_at_home(self, result: Result | None = None) -> str | None:
        """Who has proven a result, or the wrong one, to be wrong at home."""
        digest = self.site.mirror.digest_of(result or self.wrong)
        return self.federation.federation.fraud(digest).challenger

    def refused(self) -> bool:
        """Whether the wrong result is refused by the mirror."""
        return self.site.mirror.round_of(1).convicted

    def sent_at_home(self) -> int:
        account = Web3.to_checksum_address(self.me.address)
        return self.federation.chain.web3.eth.get_transaction_count(account)

    def guard(
        self, guard: Callable[[], MirrorWatcher], reached: Callable[[], bool] = lambda: False
    ) -> list[str]:
        """Give ``guard()`` steps, with a block on both chains between them; what was done.

        It ends when a condition holds, or the watcher has nothing to do.
        """
        done: list[str] = []
        for _ in range(STEPS):
            one = guard()
            action = one.step().action
            if action is not None:
                done.append(action)
            if reached() or (action is None and one.idle):
                return done
            for chain in (self.chain, self.federation.chain):
                chain.mine()
        raise AssertionError(f"the watcher never came to an end: {done}")


def test_the_signer_of_what_a_mirror_refused_is_slashed_at_home(tmp_path: Path) -> None:
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.wrong)
    before = stakes(case.federation)
    guard = case.site.watcher()
    assert case.guard(lambda: guard) == [*PROVEN, *PROVEN]
    assert case.refused()
    assert case.proven_at_home() == case.me.address
    assert guard.doubts == (WRONG,)

    # The watcher of the federation, in the same process, sends the slash that it is paid for.
    context = case.federation.context(case.me, tmp_path / "at home")
    watcher = Watcher(context, WatcherSettings(secret=b"\5" * 32))
    done = run_watchers(case.federation, watcher)
    assert done.count("slashSigner") == 1
    assert "challenge" not in done
    after = stakes(case.federation)
    assert after[0] < before[0]
    assert after[1] == before[1]
    # The right model stands: a result that was never accepted takes nothing with it.
    assert case.federation.federation.head().root == case.right.global_root


def test_a_process_that_restarts_before_every_step_sends_nothing_twice(tmp_path: Path) -> None:
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.wrong)
    before = case.sent_at_home()
    assert case.guard(case.site.watcher) == [*PROVEN, *PROVEN]
    assert case.guard(case.site.watcher) == []
    assert case.sent_at_home() == before + 2


def test_a_proof_that_somebody_else_made_is_carried_home(tmp_path: Path) -> None:
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.wrong)
    other = case.site.watcher("other", case.federation.keeper_key)
    assert case.guard(lambda: other, case.refused) == PROVEN
    assert case.proven_at_home() is None
    # The mirror's events have the proof: nobody has to show the model any more.
    shown = case.federation.store.locate(case.wrong.global_cid)
    assert shown is not None
    shown.unlink()
    assert case.guard(case.site.watcher) == PROVEN
    assert case.proven_at_home() == case.me.address
    # The other one has nothing to add.
    assert case.guard(lambda: other) == []


def test_a_proof_that_a_reorg_at_home_drops_is_sent_again(tmp_path: Path) -> None:
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.wrong)
    guard = case.site.watcher()
    assert case.guard(lambda: guard, case.refused) == PROVEN
    fork = Fork(case.federation.chain)
    assert case.guard(lambda: guard) == PROVEN
    fork.reorganise()
    assert case.proven_at_home() is None
    assert case.guard(lambda: guard) == PROVEN
    assert case.proven_at_home() == case.me.address


def test_what_the_federation_has_no_signature_of_is_an_alert(tmp_path: Path) -> None:
    case = TwoFaced(tmp_path, attested=False)
    case.submit(case.wrong)
    sent, before = case.sent_at_home(), stakes(case.federation)
    guard = case.site.watcher()
    assert case.guard(lambda: guard) == PROVEN
    assert case.refused()
    assert guard.doubts == (NO_SIGNATURE, WRONG)
    assert (case.sent_at_home(), stakes(case.federation)) == (sent, before)


def test_a_signer_that_has_lost_everything_is_not_proven_guilty_again(tmp_path: Path) -> None:
    """Else a quorum could sign one wrong model after the other, and a watcher pay for each."""
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.wrong)
    guard = case.site.watcher()
    case.guard(lambda: guard)
    digest = case.site.mirror.digest_of(case.wrong)
    seat = case.federation.observe(case.federation.aggregators[0]).aggregator.seat
    case.federation.send(case.me, case.federation.federation.slash_signer(digest, seat))
    assert stakes(case.federation)[0] == 0
    sent = case.sent_at_home()
    case.submit(case.other)
    assert case.guard(lambda: guard) == PROVEN
    assert case.sent_at_home() == sent
    assert case.proven_at_home(case.other) is None
    assert f"{REFUSED}cannot be proven at home: whoever signed it there has no stake left" in (
        guard.doubts
    )


@pytest.mark.parametrize("proven", [False, True])
def test_a_window_that_is_over_at_home_is_an_alert_unless_it_was_proven_there(
    tmp_path: Path, proven: bool
) -> None:
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.wrong)
    guard = case.site.watcher()
    case.guard(lambda: guard, case.refused if not proven else lambda: False)
    window = case.federation.federation.window(1)
    case.federation.pass_until(window.window_end)
    sent = case.sent_at_home()
    late = case.site.watcher("late")
    assert case.guard(lambda: late) == []
    assert late.doubts == (() if proven else (TOO_LATE,))
    assert case.sent_at_home() == sent


def test_an_empty_account_on_the_mirror_does_not_keep_a_proof_from_home(tmp_path: Path) -> None:
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.wrong)
    other = case.site.watcher("other", case.federation.keeper_key)
    assert case.guard(lambda: other, case.refused) == PROVEN
    # There is more to prove on the mirror, which costs coin that this account does not have.
    case.submit(case.other)
    poor = case.site.watcher("poor", case.federation.parties[0])
    done = []
    for _ in PROVEN:
        done.append(poor.step().action)
        case.federation.chain.mine()
    assert done == PROVEN
    assert case.proven_at_home() == case.federation.parties[0].address
    with pytest.raises(InsufficientFunds):
        poor.step()


def test_a_fraud_that_a_node_of_the_mirror_invents_costs_one_registration_and_is_an_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = TwoFaced(tmp_path, attested=True)
    case.submit(case.right)
    mirror = case.site.mirror
    digest = mirror.digest_of(case.right)
    told = mirror.mirror_events

    def lying(first: int, last: int) -> MirrorEvents:
        found = told(first, last)
        invented = FraudRecorded(1, digest, 0, bytes(64), last)
        return dataclasses.replace(found, frauds=[*found.frauds, invented])

    monkeypatch.setattr(mirror, "mirror_events", lying)
    before = case.sent_at_home()
    guard = case.site.watcher()
    assert case.guard(lambda: guard) == ["check", "registerChallenge"]
    (doubt,) = guard.doubts
    assert doubt.startswith(f"{REFUSED}the federation does not take as proven: ")
    assert case.guard(lambda: guard) == []
    assert case.sent_at_home() == before + 1
    assert case.proven_at_home(case.right) is None
