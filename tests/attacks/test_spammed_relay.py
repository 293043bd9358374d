"""An attacker posts junk to the relay at every step, so that batches fail or messages are lost."""

from __future__ import annotations

from collections import Counter

import pytest
from support.federation import Build, SmallFederation
from support.observations import SOME_CID

from fl_orchestrator.chain.types import Phase, Update
from fl_orchestrator.model.digests import Result
from fl_orchestrator.roles.base import Step


class Spammer:
    """Repeatedly posts messages of a round that the contract refuses."""

    def __init__(self, federation: SmallFederation, round_number: int) -> None:
        self._mailbox, key = federation.mailbox, federation.outsider
        contract = federation.federation
        self._round = round_number
        self._commit = contract.sign_commit(key, round_number, b"\1" * 32)
        self._reveal = Update(key.address, 0, bytes(32), SOME_CID, bytes(32))
        self._result = Result(round_number, b"\1" * 32, b"\2" * 32, 1, b"\3" * 32, SOME_CID)
        self._signature = contract.sign_result(key, self._result)

    def step(self) -> Step:
        self._mailbox.post_commit(self._round, self._commit)
        self._mailbox.post_reveal(self._round, self._reveal)
        self._mailbox.post_attestation(self._result, self._signature)
        return Step()


def test_junk_in_the_mailbox_stops_nobody(build: Build) -> None:
    federation = build(parties=2)
    roles = [Spammer(federation, 1), *federation.everybody(federation.mailbox)]
    seen = federation.run_round(roles)
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() == {0, 1}
    sent = Counter(receipt.label for receipt in federation.receipts)
    assert (sent["commitFor"], sent["commit"]) == (1, 0)


@pytest.mark.parametrize("round_number", [2, 1_000_000])
def test_messages_of_rounds_to_come_stop_nobody(build: Build, round_number: int) -> None:
    """They are stored beside this round's messages, and displace none of them."""
    federation = build(parties=2)
    roles = [Spammer(federation, round_number), *federation.everybody(federation.mailbox)]
    seen = federation.run_round(roles)
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() == {0, 1}
    sent = Counter(receipt.label for receipt in federation.receipts)
    assert (sent["commitFor"], sent["commit"]) == (1, 0)
