"""The masked updates of a private round that an aggregator holds, and its shares of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from fl_orchestrator.chain.event_types import MaskedReveal, RevealedUpdate
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.vector_file import VectorFileError
from fl_orchestrator.privacy.seal import Seal, SealError, right_shares
from fl_orchestrator.roles.masked.files import MaskedFile, MaskedFiles
from fl_orchestrator.roles.masked.rounds import MaskedRound, Members
from fl_orchestrator.roles.updates import StillFetching, UpdateFetches
from fl_orchestrator.roles.vectors import RootMismatch, VectorFile

_log = get_logger(__name__)

_MALFORMED: Final = (VectorFileError, RootMismatch, SealError)


@dataclass(slots=True)
class Holding:
    """What this process has of a round; a restart fetches it again.

    ``files`` are by place; those that are ``missing`` are asked for again at ``retry_at``, in the
    chain's seconds. While ``fetching``, others are on their way. ``shares`` are this seat's right
    shares, by the index of the commit and the number of the set. ``secret`` is the seat's
    decryption key; None if it is not here.
    """

    seen: MaskedRound
    position: int
    secret: bytes | None = field(repr=False)
    files: dict[int, MaskedFile] = field(default_factory=dict)
    shares: dict[int, dict[int, bytes]] = field(default_factory=dict, repr=False)
    malformed: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    retry_at: int = 0
    fetching: bool = False

    def claimable(
        self,
        members: Members | None,
        misdealers: Collection[str] = frozenset(),
        weight: int | None = None,
    ) -> int:
        """The places that may be claimed: held here with all shares, and on the list.

        Who is proven to have misdealt is never claimed. ``weight`` is what each update has to
        weigh; None if any weight will do.
        """
        needed = len(self.seen.context.held_by(self.position))
        places = 0
        for place, masked in self.files.items():
            reveal = masked.reveal
            whole = len(self.shares.get(reveal.commit, {})) == needed
            listed = members is None or (reveal.party, reveal.weight) in members
            usable = listed and weight in (None, reveal.weight)
            if whole and usable and reveal.party not in misdealers:
                places |= 1 << place
        return places

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be fetched."""
        return len(self.files) + len(self.malformed) == len(self.seen.reveals)

    def seals(self, places: int) -> dict[int, Seal] | None:
        """The seals of updates by the index of their commit; None while one is not here."""
        chosen = [place for place in range(places.bit_length()) if places >> place & 1]
        if not all(place in self.files for place in chosen):
            return None
        return {self.files[place].reveal.commit: self.files[place].seal for place in chosen}


class Holdings:
    """Fetches and checks the updates of a round; used by one thread."""

    def __init__(self, files: MaskedFiles, store: ContentStore) -> None:
        self._files = files
        self._store = store
        self._seen: MaskedRound | None = None
        self._fetches = UpdateFetches(self._get)

    def fetch(self, holding: Holding, now: int, retry_seconds: int, seconds: float) -> None:
        """Fetch what is not there yet, for at most so many ``seconds``.

        A new update is asked for at once, and what cannot be had again after ``retry_seconds`` of
        the chain's time.
        """
        self._seen = holding.seen
        if now >= holding.retry_at:
            holding.missing.clear()
        wanted = [
            reveal
            for reveal in holding.seen.reveals
            if reveal.index not in holding.files
            and reveal.index not in holding.malformed
            and reveal.index not in holding.missing
        ]
        holding.fetching = False
        for reveal, file in zip(wanted, self._fetches.fetch(wanted, seconds), strict=True):
            if isinstance(file, VectorFile):
                self._take(holding, reveal, file)
            elif isinstance(file, StillFetching):
                holding.fetching = True
            else:
                self._note(holding, reveal, file)
        if holding.missing and now >= holding.retry_at:
            holding.retry_at = now + max(1, retry_seconds)

    def abandon_before(self, round_number: int) -> None:
        self._fetches.abandon_before(round_number)

    def _get(self, reveal: RevealedUpdate, stop: Callable[[], bool]) -> VectorFile:
        seen = self._seen
        if seen is None or not isinstance(reveal, MaskedReveal):
            raise RuntimeError("no round is being fetched")
        return self._files.fetch(self._store, seen, reveal, stop)

    def _take(self, holding: Holding, reveal: MaskedReveal, file: VectorFile) -> None:
        try:
            masked = self._files.with_seal(holding.seen, reveal, file)
        except SealError as error:
            # A copy of another's update, which was in the cache by its root.
            self._note(holding, reveal, error)
            return
        holding.files[reveal.index] = masked
        if holding.secret is None:
            return
        shares = right_shares(
            holding.seen.context, reveal.commit, masked.seal, holding.position, holding.secret
        )
        holding.shares[reveal.commit] = shares
        if len(shares) < len(holding.seen.context.held_by(holding.position)):
            _log.error("alert: a party dealt wrong shares", party=reveal.party, round=reveal.round)

    def _note(self, holding: Holding, reveal: MaskedReveal, error: FloError) -> None:
        """Note why an update is not held, and whether asking for it again is of any use."""
        _log.warning("not held", party=reveal.party, round=reveal.round, reason=str(error))
        if isinstance(error, _MALFORMED):
            holding.malformed.add(reveal.index)
        else:
            holding.missing.add(reveal.index)
