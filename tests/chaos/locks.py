"""What the aggregators of a private federation tell each other, overheard while it is disturbed.

An aggregator confirms one lock of a round, and releases pieces for one, whatever happens to its
process and to the chain. What it has ever signed must show that.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Final

import requests

from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.model.private_digests import Release
from fl_orchestrator.relay.private_messages import WordMessage
from fl_orchestrator.roles.masked.words import SignedWord

_EVERY_SECONDS: Final = 0.5
_KINDS: Final = ("confirmed", "released")


class Overheard:
    """All words that were seen at the relay, and announced on the chain, also on lost branches."""

    def __init__(self, chain: PrivateFederation, relay: str) -> None:
        self._chain = chain
        self._relay = relay
        self._next = 0.0
        self._words: set[SignedWord] = set()

    def listen(self, now: float) -> None:
        """Read what is there, if some time has passed since the last time."""
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        number = self._chain.web3.eth.block_number
        index = PrivateRoundIndex(self._chain, 0)
        index.search_to(number)
        found = [SignedWord.from_bytes(data) for data in index.announced]
        for round_number in sorted(index.bases)[-2:]:
            found += self._at_relay(round_number)
        self._words.update(word for word in found if word is not None)

    def _at_relay(self, round_number: int) -> list[SignedWord]:
        """The words of a round that wait at the relay; none while its process is down."""
        try:
            answer = requests.get(f"{self._relay}/v1/words/{round_number}", timeout=1)
            words = answer.json()["words"]
        except (requests.RequestException, KeyError):
            return []
        return [WordMessage.model_validate(word).value() for word in words]

    def locks(self) -> dict[tuple[str, int, str], set[bytes]]:
        """All locks that each aggregator has signed: by its address, the round, and the kind."""
        found: dict[tuple[str, int, str], set[bytes]] = defaultdict(set)
        for word in self._words:
            signer = recover(self._chain.digest(word.message), word.signature)
            assert signer is not None
            kind = _KINDS[isinstance(word.message, Release)]
            found[signer.lower(), word.round, kind].add(word.message.lock)
        return dict(found)


def recorded(vault: Path) -> dict[tuple[int, str], bytes]:
    """The locks in a vault, by round and kind."""
    with sqlite3.connect(f"file:{vault}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT round, kind, word FROM locks").fetchall()
    return {(number, kind): word for number, kind, word in rows}
