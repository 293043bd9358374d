"""A private round from which parties drop out at every step, while aggregators are away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from vectors.arithmetic import next_state, weighted_mean

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import read_vector
from fl_orchestrator.privacy.context import RoundContext
from fl_orchestrator.privacy.dealing import Dealing
from fl_orchestrator.privacy.seal import Seal, make_seal
from fl_orchestrator.roles import base
from fl_orchestrator.roles.party import masked
from fl_orchestrator.roles.party.party import Party
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from support.federation import CLASSES, head_state, rows_of
from support.private_federation import SmallPrivateFederation, packed_manifest
from support.stores import Withheld

#: What becomes of these parties; all others do what they should.
NEVER_THERE, COMMITS_ONLY, UNAVAILABLE, MISDEALS, MISDEALS_TO_ONE = range(5)
# A seat that is always there: it gets the wrong share.
FOOLED = 0
WRONG = keccak256(b"wrong")


def unequal_rows(party: int) -> Rows:
    """A party's rows: 8 to 24 of them."""
    rows, count = rows_of(party), 8 + party % 17
    return Rows(rows.x[:count], rows.y[:count])


def misdealt(kind: int, seal: Seal, index: int) -> Seal:
    """What a party of a kind seals in the place of its right seal; ``index`` is that of its commit.

    Nobody can see that MISDEALS is wrong before its seeds are opened.
    """
    if kind == MISDEALS:
        hashes = list(seal.hashes)
        hashes[index] = WRONG
        return replace(seal, hashes=tuple(hashes))
    if kind == MISDEALS_TO_ONE:
        fooled, *others = seal.shares
        assert FOOLED == 0
        return replace(seal, shares=((WRONG, *fooled[1:]), *others))
    return seal


def averaged(
    before: Sequence[int], updates: Sequence[tuple[list[int], int]], bits: int
) -> list[int]:
    """The next model by FedAvg in Python's integers, over updates with their weights."""
    weights = [weight for _, weight in updates]
    return [
        next_state(value, weighted_mean([update[n] for update, _ in updates], weights), bits)
        for n, value in enumerate(before)
    ]


def kept_update(path: Path, weight: int, layout: Layout) -> tuple[list[int], int]:
    """The plain update that a party keeps in its journal, with its weight."""
    with path.open("rb") as stream:
        return read_vector(stream, layout)[1].tolist(), weight


class DropOuts:
    """A round with one party of each kind; with ``absent``, as many seats as can be are away."""

    def __init__(self, directory: Path, parties: int, seats: int, absent: bool) -> None:
        # An update weighs as many as its party has rows: 8 to 24.
        manifest = packed_manifest(samples_per_weight=1)
        self.federation = SmallPrivateFederation(directory, parties, seats, manifest=manifest)
        self.relay = self.federation.mailbox
        self.before = [int(value) for value in head_state(self.federation)]
        withheld = Withheld(directory / "store", LocalStore(directory / "elsewhere"))
        self.parties = [
            self.federation.party(
                number,
                relay=self.relay,
                trainer=self._trainer(number),
                store=withheld if number == UNAVAILABLE else None,
            )
            for number in range(parties)
        ]
        self.seats = [
            self.federation.private_aggregator(number, self.relay)
            for number in range(seats - absent * ((seats - 1) // 3))
        ]

    @staticmethod
    def _trainer(number: int) -> NumpyLogistic:
        return NumpyLogistic(unequal_rows(number), CLASSES)

    def _sealed(self, context: RoundContext, dealing: Dealing) -> Seal:
        """What a party seals: two of them cheat."""
        party = context.commits[dealing.index].party
        kind = [key.address for key in self.federation.parties].index(party)
        return misdealt(kind, make_seal(context, dealing), dealing.index)

    def play(self) -> None:
        """Play the round up to its result."""
        with patch.object(masked, "make_seal", self._sealed):
            self._play()

    def _play(self) -> None:
        federation = self.federation
        federation.open_round()
        assert self.parties[COMMITS_ONLY].step().action == "post commit"
        present = [
            party
            for number, party in enumerate(self.parties)
            if number not in (NEVER_THERE, COMMITS_ONLY)
        ]
        roles: list[base.Worker] = [*present, *self.seats, federation.keeper(1)]
        seen = federation.run_to(Phase.CLAIM, roles, 1)
        assert seen.current.commits == len(self.parties) - 1
        assert seen.current.reveals == len(present)
        self.updates = {n: self._update(party) for n, party in enumerate(self.parties) if n > 1}
        seen = federation.run_round(roles, 1)
        assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)

    @staticmethod
    def _update(party: Party) -> tuple[list[int], int]:
        """The plain update that a party keeps, and its weight."""
        entry: Any = party.submission.entry(1)
        return kept_update(entry.path, entry.weight, packed_manifest().layout)

    def average(self) -> list[int]:
        """The next model by FedAvg in Python's integers, over the included."""
        included = [self.updates[number] for number in sorted(self.federation.included())]
        return averaged(self.before, included, self.federation.manifest.update_fraction_bits)

    def check(self, absent: bool) -> None:
        """The model is that of FedAvg over all who did not drop out."""
        left_out = {NEVER_THERE, COMMITS_ONLY, UNAVAILABLE, MISDEALS}
        # With all seats there, those with right shares are enough to lock it, and to open it.
        left_out |= {MISDEALS_TO_ONE} if absent else set()
        assert self.federation.included() == set(range(len(self.parties))) - left_out
        assert len({weight for _, weight in self.updates.values()}) > 5
        assert head_state(self.federation).tolist() == self.average() != self.before
