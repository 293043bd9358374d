"""What aggregators tell each other in a private round: that they confirm a lock, and where the
pieces are that they release for it (docs/protocol.md, section 12.6).

They are signed, and go through relays; what relays withhold is announced on the chain. Anybody may
have made a message, so only those of seats of the round count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ContentError
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.private_digests import Confirmed, Release
from fl_orchestrator.model.words import bytes32, cid_words, uint
from fl_orchestrator.roles.masked.rounds import MaskedRound

_WORD: Final = 32
#: A seat makes one file for a lock, and one for each party that misdealt.
MAX_FILES: Final = 16
_MAX_KNOWN: Final = 8192


@dataclass(frozen=True, slots=True)
class SignedWord:
    """A message of an aggregator to the others."""

    message: Confirmed | Release
    signature: Signature

    @property
    def round(self) -> int:
        return self.message.round

    def to_bytes(self) -> bytes:
        """As it is announced on the chain: ``abi.encode(typeHash, fields, r, vs)``."""
        message = self.message
        fields = uint(message.round, 64) + bytes32(message.lock)
        if isinstance(message, Release):
            fields += cid_words(message.cid)
        return keccak256(message.TYPE) + fields + self.signature.r + self.signature.vs

    @classmethod
    def from_bytes(cls, data: bytes) -> SignedWord | None:
        """Read an announcement; None if it is none of these messages."""
        words = [data[start : start + _WORD] for start in range(0, len(data), _WORD)]
        try:
            if len(data) == 5 * _WORD and words[0] == keccak256(Confirmed.TYPE):
                message: Confirmed | Release = Confirmed(_round(words[1]), words[2])
            elif len(data) == 7 * _WORD and words[0] == keccak256(Release.TYPE):
                cid = Cid(words[3], int.from_bytes(words[4], "big"))
                message = Release(_round(words[1]), words[2], cid)
            else:
                return None
        except (ContentError, ValueError):
            return None
        return cls(message, Signature(words[-2], words[-1]))


def _round(word: bytes) -> int:
    number = int.from_bytes(word, "big")
    if number >= 1 << 32:
        raise ValueError(f"there is no round {number}")
    return number


class Words:
    """The valid messages of one round's seats. ``sources`` give all messages that there are."""

    def __init__(
        self,
        federation: PrivateFederation,
        sources: Iterable[Callable[[int], Iterable[SignedWord]]],
    ) -> None:
        self._federation = federation
        self._sources = tuple(sources)
        self._signers: dict[SignedWord, str | None] = {}

    def confirmed(self, seen: MaskedRound, lock: bytes) -> frozenset[int]:
        """The positions of the seats that confirm a lock."""
        wanted = Confirmed(seen.number, lock)
        positions = (p for p, word in self._of(seen) if word.message == wanted)
        return frozenset(positions)

    def told(
        self,
        seen: MaskedRound,
        position: int,
        message: Confirmed | Release,
        words: Iterable[SignedWord],
    ) -> bool:
        """Whether a seat's message is among these."""
        found = self._valid(seen, words)
        return any((p, word.message) == (position, message) for p, word in found)

    def releases(self, seen: MaskedRound, lock: bytes) -> dict[int, tuple[Cid, ...]]:
        """Where the release files for a lock are, by position; each seat has a bounded number."""
        found: dict[int, dict[Cid, None]] = {}
        for position, word in self._of(seen):
            message = word.message
            if isinstance(message, Release) and message.lock == lock:
                files = found.setdefault(position, {})
                if len(files) < MAX_FILES:
                    files[message.cid] = None
        return {position: tuple(files) for position, files in found.items()}

    def _of(self, seen: MaskedRound) -> list[tuple[int, SignedWord]]:
        words = (word for source in self._sources for word in source(seen.number))
        return self._valid(seen, words)

    def _valid(
        self, seen: MaskedRound, words: Iterable[SignedWord]
    ) -> list[tuple[int, SignedWord]]:
        """The messages of seats of the round, with their positions."""
        found = []
        for word in words:
            signer = self._signer(word) if word.round == seen.number else None
            position = None if signer is None else seen.position_of(signer)
            if position is not None:
                found.append((position, word))
        return found

    def _signer(self, word: SignedWord) -> str | None:
        if word not in self._signers:
            # A relay may answer with other messages each time.
            if len(self._signers) >= _MAX_KNOWN:
                self._signers.clear()
            self._signers[word] = recover(self._federation.digest(word.message), word.signature)
        return self._signers[word]

    def forget_before(self, round_number: int) -> None:
        """Forget the signers of messages of earlier rounds."""
        self._signers = {w: s for w, s in self._signers.items() if w.round >= round_number}
