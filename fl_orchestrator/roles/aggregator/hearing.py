"""What aggregators tell each other, as one of them hears it: from the relay, and from the chain."""

from __future__ import annotations

from collections.abc import Iterable

from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.masked.relay import PrivateRelay
from fl_orchestrator.roles.masked.words import SignedWord
from fl_orchestrator.roles.relay import RelayFailed

_log = get_logger(__name__)


class Hearing:
    """Reads the relay once in a step. ``relay_fails`` since it did, and until it answers again."""

    def __init__(self, relay: PrivateRelay | None, index: PrivateRoundIndex, address: str) -> None:
        self.relay_fails = False
        self._relay = relay
        self._index = index
        self._address = address
        self._heard: tuple[int, tuple[SignedWord, ...]] = (0, ())

    def listen(self, round_number: int) -> None:
        """Read what the relay has of the others."""
        if self._relay is None:
            return
        try:
            self._heard = (round_number, tuple(self._relay.words(round_number)))
            self.relay_fails = False
        except RelayFailed as error:
            self.note_failure(error)

    def note_failure(self, error: RelayFailed) -> None:
        self.relay_fails = True
        _log.warning("relay failed", aggregator=self._address, reason=str(error))

    def relayed(self, round_number: int) -> Iterable[SignedWord]:
        number, words = self._heard
        return words if number == round_number else ()

    def announced(self, round_number: int) -> Iterable[SignedWord]:
        found = (SignedWord.from_bytes(message) for message in self._index.announced)
        return [word for word in found if word is not None and word.round == round_number]
