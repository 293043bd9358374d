"""The secrets of simulated accounts: derived from the run's seed, as nothing is secret there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fl_orchestrator.chain.signing.keys import LocalSigner


@dataclass(slots=True)
class Accounts:
    """The accounts of a simulation, with their keys."""

    owner: LocalSigner
    keeper: LocalSigner
    aggregators: list[LocalSigner]
    parties: list[LocalSigner]
    watchers: list[LocalSigner]

    @classmethod
    def of_seed(cls, seed: int, aggregators: int, parties: int, watchers: int) -> Accounts:
        def signer(name: str) -> LocalSigner:
            return LocalSigner.from_secret(_secret("key", seed, name))

        return cls(
            signer("owner"),
            signer("keeper"),
            [signer(f"aggregator {i}") for i in range(aggregators)],
            [signer(f"party {i}") for i in range(parties)],
            [signer(f"watcher {i}") for i in range(watchers)],
        )

    def all(self) -> Iterator[LocalSigner]:
        yield from (self.owner, self.keeper)
        yield from (*self.aggregators, *self.parties, *self.watchers)


def salts(seed: int, party: int) -> Callable[[int], bytes]:
    """A party's salt of each round; in a private federation the secret of its masks."""
    return lambda round_number: _secret("salt", seed, party, round_number)


def encryption_keys(seed: int, aggregator: int) -> Callable[[], bytes]:
    """What an aggregator of a private federation makes its encryption keys of, in their order."""
    made = 0

    def draw() -> bytes:
        nonlocal made
        made += 1
        return _secret("encryption key", seed, aggregator, made)

    return draw


def _secret(what: str, *parts: object) -> bytes:
    text = "\n".join((f"fl-orchestrator development {what}", *map(str, parts)))
    return hashlib.sha256(text.encode()).digest()
