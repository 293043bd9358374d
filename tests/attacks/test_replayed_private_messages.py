"""The messages and files of one private federation are sent to another one on the same chain, of
the same parties, seats and keys; and those of one round to the next.
"""

from __future__ import annotations

from pathlib import Path

from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import MaskedUpdate, Phase
from fl_orchestrator.roles.masked.relay import PrivateMailbox
from fl_orchestrator.roles.masked.words import SignedWord

THIEF = 4


class Recorder(PrivateMailbox):
    """Keeps all that was ever posted."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[object] = []

    def post(self, round_number: int, message: object) -> None:
        self.posted.append(message)
        super().post(round_number, message)


def recorded_round(private: SmallPrivateFederation) -> list[object]:
    """Play round 1; all that its members posted."""
    private.mailbox = recorder = Recorder()
    seen = private.run_round(private.everybody(recorder))
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    return list(recorder.posted)


def replay(private: SmallPrivateFederation, messages: list[object], round_number: int) -> None:
    """Post all to the relay of a round, and announce what seats have told each other."""
    for message in messages:
        private.mailbox.post(round_number, message)
        if isinstance(message, SignedWord):
            private.send(private.outsider, private.contract.announce(message.to_bytes()))


def test_what_was_said_and_dealt_in_one_federation_counts_in_no_other(tmp_path: Path) -> None:
    one = SmallPrivateFederation(tmp_path / "one")
    messages = recorded_round(one)
    other = SmallPrivateFederation(tmp_path / "other", chain=lambda _accounts: one.chain)
    assert other.contract.address != one.contract.address
    assert [key.address for key in one.parties] == [key.address for key in other.parties]
    assert [one.vault(n).newest for n in range(4)] == [other.vault(n).newest for n in range(4)]
    parties = [other.party(number, relay=other.mailbox) for number in range(5)]
    seats = [other.private_aggregator(number, other.mailbox) for number in range(4)]
    other.open_round()
    replay(other, messages, 1)
    other.run_to(Phase.REVEAL, [*parties, other.keeper(1)], 1)
    # One party reveals what it sealed for the other federation, which has the same keys.
    stolen = [m for m in messages if isinstance(m, MaskedUpdate)]
    (own,) = (m for m in stolen if m.party == other.parties[THIEF].address)
    for stored in (tmp_path / "one" / "store").rglob("*"):
        if stored.is_file():
            with stored.open("rb") as stream:
                other.store.put(stream)
    other.send(
        other.parties[THIEF],
        other.contract.reveal_masked(other.seen().claims.commits_hash, [own]),
    )
    replay(other, messages, 1)
    other.run_to(Phase.ATTEST, [*parties[:THIEF], *seats, other.keeper(1)], 1)
    replay(other, messages, 1)

    # Two of four seats are no quorum, whatever all four said in the other federation.
    seen = other.run_round([*parties, *seats[:2]], 1)
    assert seen.current.phase is Phase.VOID
    assert other.seen().claims.locked.bit_count() == 4
    for number in range(2):
        assert other.vault(number).confirmed(1) is not None
        assert other.vault(number).released(1) is None


def test_what_was_said_in_one_round_counts_in_no_other(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)
    messages = recorded_round(private)
    roles = private.everybody(private.mailbox)
    private.run_to(Phase.COMMIT, [private.keeper(2)], 2)
    for phase in (Phase.REVEAL, Phase.CLAIM, Phase.ATTEST):
        replay(private, messages, 2)
        private.run_to(phase, [*roles, private.keeper(2)], 2)
    replay(private, messages, 2)
    # The parties are first. Two seats are no quorum.
    seen = private.run_round([*roles[:5], *roles[5:7]], 2)
    assert (seen.current.phase, seen.head.round) == (Phase.VOID, 1)
    assert private.vault(0).confirmed(2) is not None
    assert private.vault(0).released(2) is None
