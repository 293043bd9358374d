"""What the roles of a private federation read of a round from its events (section 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.event_types import MaskedReveal
from fl_orchestrator.chain.types import PrivateObservation, included_indices
from fl_orchestrator.privacy.context import Commit, RoundContext, Seat, commits_hash, lock_of
from fl_orchestrator.privacy.sets import SeatsError
from fl_orchestrator.roles.updates import InconsistentEvents, check_reveals

#: The parties that may be opened together on a base root, with their weights.
Members = frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class MaskedRound:
    """A private round whose commit phase has ended. ``reveals`` are the counted ones by place."""

    number: int
    base_root: bytes
    context: RoundContext
    reveals: tuple[MaskedReveal, ...]

    @property
    def commits_hash(self) -> bytes:
        return commits_hash(self.base_root, self.context.commits)

    def index_of(self, party: str) -> int | None:
        """The index of a party's commit."""
        parties = [commit.party.lower() for commit in self.context.commits]
        return parties.index(party.lower()) if party.lower() in parties else None

    def position_of(self, account: str) -> int | None:
        """The position of an aggregator in the seat table."""
        accounts = [seat.account.lower() for seat in self.context.seats]
        return accounts.index(account.lower()) if account.lower() in accounts else None

    def indices(self, places: int) -> int:
        """The bit set of indices of a bit set of places. Raises InconsistentEvents."""
        return sum(1 << reveal.commit for reveal in self._at(places))

    def lock(self, places: int) -> bytes:
        """What seats confirm if these places are locked."""
        return lock_of(self.context.ctx, self.indices(places))

    def members(self, places: int) -> Members:
        """The parties at these places, with their weights. Raises InconsistentEvents."""
        return frozenset((reveal.party, reveal.weight) for reveal in self._at(places))

    def _at(self, places: int) -> list[MaskedReveal]:
        if places >> len(self.reveals):
            raise InconsistentEvents(
                f"The node's lock of round {self.number} has more updates than were revealed.",
                "The node is out of step or lies: use another RPC endpoint.",
            )
        return [self.reveals[place] for place in included_indices(places)]

    def is_quorum(self, positions: Sequence[int]) -> bool:
        """Whether these seats have more than two thirds of the table's stake."""
        seats = self.context.seats
        total = sum(seat.stake for seat in seats)
        return 3 * sum(seats[position].stake for position in set(positions)) > 2 * total


class MaskedRounds:
    """Reads private rounds from an index of events, which the caller keeps up to date."""

    def __init__(self, federation: PrivateFederation, index: PrivateRoundIndex) -> None:
        self._federation = federation
        self._index = index

    def read(self, round_number: int, base_root: bytes) -> MaskedRound:
        """A round that started from the model with this root.

        Raises MissingEvents, UntrueEvents and ContextError.
        """
        commits = [
            Commit(event.party, event.weight, bytes(event.mask_key))
            for event in self._index.commits(round_number)
        ]
        rows = self._index.seat_table(round_number)
        try:
            context = RoundContext.of(
                chain_id=self._federation.chain_id,
                federation=self._federation.address,
                round_number=round_number,
                base_root=base_root,
                commits=commits,
                seats=[Seat(row.account, row.stake, row.key) for row in rows],
                secrecy=self._federation.private_params().secrecy,
            )
        except (SeatsError, ValueError) as error:
            raise UntrueEvents(f"the seats or commits of round {round_number}: {error}") from error
        reveals = self._index.updates(round_number)
        masked = tuple(reveal for reveal in reveals if isinstance(reveal, MaskedReveal))
        return MaskedRound(round_number, base_root, context, masked)

    def current(self, seen: PrivateObservation) -> MaskedRound:
        """The current round, whose commits and reveals must be those that the contract counted.

        Raises InconsistentEvents too.
        """
        current = seen.current
        found = self.read(current.round, current.base_root)
        if found.commits_hash != seen.claims.commits_hash:
            raise InconsistentEvents(
                "The node's list of commits does not have the contract's hash.",
                "The node is out of step or lies: use another RPC endpoint.",
            )
        if current.reveals:
            check_reveals(found.reveals, current.updates_hash)
        return found

    def locks_before(self, round_number: int) -> int:
        """How many earlier rounds locked enough updates for a sum, whatever became of them."""
        enough = self._federation.params().min_updates
        earlier = (number for number in self._index.bases if number < round_number)
        return sum(self._index.locked(number).bit_count() >= enough for number in earlier)

    def list_on(self, base_root: bytes, before: int) -> Members | None:
        """The list of a base root by the events of rounds before this one; None if there is none.

        It is that of the first such round whose last event locks enough, whatever became of it.
        """
        enough = self._federation.params().min_updates
        for number in sorted(self._index.bases):
            locked = self._index.locked(number)
            if number >= before or locked.bit_count() < enough:
                continue
            if self._index.base_root(number) == base_root:
                return self.read(number, base_root).members(locked)
        return None
