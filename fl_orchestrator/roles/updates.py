"""The revealed updates of a round: checked against the contract's hash, fetched in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import ContentError, FloError, VerificationError
from fl_orchestrator.model.digests import ZERO_HASH, updates_hash
from fl_orchestrator.roles.vectors import Origin, RootMismatch, VectorCache, VectorFile

_PARALLEL_FETCHES: Final = 8


class InconsistentEvents(VerificationError):
    """The reveals that the node reports are not those that the contract counted."""


def check_reveals(reveals: Sequence[RevealedUpdate], expected: bytes) -> None:
    """Refuse a list of reveals whose rolling hash is not the contract's."""
    rolling = ZERO_HASH
    for reveal in reveals:
        rolling = updates_hash(rolling, reveal.party, reveal.weight, reveal.root)
    in_order = [reveal.index for reveal in reveals] == list(range(len(reveals)))
    if rolling != expected or not in_order:
        raise InconsistentEvents(
            "The node's list of reveals does not have the contract's hash.",
            "The node is out of step or lies: use another RPC endpoint.",
        )


def fetch_updates(
    vectors: VectorCache, store: ContentStore, origin: Origin, reveals: Sequence[RevealedUpdate]
) -> list[VectorFile | FloError]:
    """Fetch and check the updates of a round; for each, its file or why there is none."""

    def fetch(reveal: RevealedUpdate) -> VectorFile | FloError:
        try:
            return vectors.fetch(store, reveal.cid, reveal.root, origin.update(reveal.round))
        except (ContentError, RootMismatch) as error:
            return error

    with ThreadPoolExecutor(_PARALLEL_FETCHES) as pool:
        return list(pool.map(fetch, reveals))
