"""An operator restores an older copy of a home from a backup: that of an aggregator, which may have
confirmed a lock since then, or that of a party, which has committed since then.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.privacy.dealing import NotOurCommit
from fl_orchestrator.roles.aggregator.private import PrivateAggregator
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.party.party import Party, PartySettings

PARTIES = 3


def seat(private: SmallPrivateFederation) -> tuple[PrivateAggregator, Vault]:
    """The only seat, which is a quorum: its process, started anew, and its record."""
    home = private.home("aggregators", 0)
    vault = Vault(home / "private" / "vault.sqlite", "secret", stretch=False)
    return PrivateAggregator(private.context(private.aggregators[0], home), vault), vault


@pytest.mark.parametrize("backup", [0, 1], ids=["before any round", "after round 1"])
def test_a_restored_aggregator_confirms_nothing_in_a_round_that_it_may_have_confirmed(
    tmp_path: Path, backup: int
) -> None:
    private = SmallPrivateFederation(tmp_path, PARTIES, 1)
    parties = [private.party(number) for number in range(PARTIES)]
    role, vault = seat(private)
    for number in range(1, backup + 1):
        assert private.run_round([*parties, role], number).head.round == number
    file, copy = private.home("aggregators", 0) / "private/vault.sqlite", tmp_path / "backup"
    shutil.copy(file, copy)
    attacked = backup + 1
    private.run_to(Phase.ATTEST, [*parties, role, private.keeper(attacked)], attacked)
    while vault.confirmed(attacked) is None:
        role.step()
    vault.close()

    shutil.copy(copy, file)
    role, vault = seat(private)
    key = vault.newest
    with capture_logs() as logs:
        seen = private.run_round([role], attacked)
    assert seen.current.phase is Phase.VOID
    assert "alert: an older copy of the record of this seat" in str(logs)
    assert vault.confirmed(attacked) is vault.released(attacked) is None
    assert vault.newest != key
    # It says so once, and takes part with its new key.
    with capture_logs() as logs:
        seen = private.run_round([*parties, role], attacked + 1)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, attacked + 1)
    assert "older copy" not in str(logs)


def restarted(private: SmallPrivateFederation, word: bytes) -> Party:
    """Party 0 with its home as it is now, which draws other secrets than before."""
    context = private.context(private.parties[0], private.home("parties", 0))
    settings = PartySettings(0, lambda n: hashlib.sha256(word + bytes([n])).digest())
    return Party(context, private.trainers[0], settings)


def test_a_restored_party_reveals_nothing_under_other_masks(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, PARTIES + 1, 1)
    parties = [private.party(number) for number in range(PARTIES + 1)]
    role, _ = seat(private)
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    committed = private.contract.observe(private.parties[0].address).committed
    files = set((tmp_path / "store").rglob("*"))

    # A home from before the commit does not have the round.
    shutil.rmtree(private.home("parties", 0))
    with capture_logs() as logs:
        assert restarted(private, b"later").step().action is None
    assert "journal lost" in {log["event"] for log in logs}
    # Another home has the round, with another secret: as if the machine had been cloned.
    clone = restarted(private, b"clone")
    entry = clone.prepare(1, [np.zeros(private.manifest.layout.parameters, np.int16)], 10)
    assert entry.opens(committed) == (entry.weight == committed.commitment[-1])
    with pytest.raises(NotOurCommit, match="another mask key"):
        clone.submission.reveal(private.seen(), entry, True)
    assert set((tmp_path / "store").rglob("*")) == files

    seen = private.run_round([*parties[1:], role], 1)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {1, 2, 3}
