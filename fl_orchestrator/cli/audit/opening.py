"""What `flo round show` tells of a private round: claims, lock, releases, seeds, expulsions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fl_orchestrator.cli.console import short

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.contract.rounds import RoundRecord
    from fl_orchestrator.content.cid import Cid


@dataclass(frozen=True, slots=True)
class OpeningRecord:
    """What the chain alone tells of how a private round was opened.

    ``releases`` are the files that aggregators of the federation announced; what went through
    relays is not on the chain. ``seeds`` is the number of opened seeds by the digest of the result.
    """

    releases: tuple[tuple[str, Cid], ...]
    seeds: dict[bytes, int]


def read_opening(chain: Federation, block: int, record: RoundRecord) -> OpeningRecord | None:
    """How a private round was opened; None in a federation in the clear."""
    from fl_orchestrator.chain.contract.private import PrivateFederation

    if not isinstance(chain, PrivateFederation):
        return None
    opened = chain.opened_seeds(block, round_number=record.number)
    seeds = {digest: len(found) // 32 for digest, found in opened.items()}
    return OpeningRecord(tuple(_releases(chain, block, record)), seeds)


def _releases(chain: Any, block: int, record: RoundRecord) -> Iterator[tuple[str, Cid]]:
    from fl_orchestrator.chain.signing.recovery import recover
    from fl_orchestrator.chain.types import Role
    from fl_orchestrator.model.private_digests import Release
    from fl_orchestrator.roles.masked.words import SignedWord

    aggregators = set(chain.registered(Role.AGGREGATOR, block))
    first = record.opened.block_number if record.opened else block
    for message in dict.fromkeys(chain.announcements(first)):
        word = SignedWord.from_bytes(message)
        if word is None or word.round != record.number or not isinstance(word.message, Release):
            continue
        # Anybody may announce anything: only what an aggregator signed is one's word.
        signer = recover(chain.digest(word.message), word.signature)
        if signer is not None and signer in aggregators:
            yield signer, word.message.cid


def opening_json(record: RoundRecord, opening: OpeningRecord | None) -> dict[str, Any]:
    """The fields of a round's JSON object; only ``private`` in a federation in the clear."""
    from fl_orchestrator.chain.types import included_indices

    if opening is None:
        return {"private": False}
    return {
        "private": True,
        "claims": [
            {"aggregator": claim.aggregator, "held": included_indices(claim.held)}
            for claim in record.claims
        ],
        "locked": included_indices(record.locked),
        "releases": [{"aggregator": signer, "cid": str(cid)} for signer, cid in opening.releases],
        "opened_seeds": {"0x" + digest.hex(): count for digest, count in opening.seeds.items()},
        "expelled": [update.party for update in record.expelled],
    }


def opening_pairs(record: RoundRecord, opening: OpeningRecord | None) -> Iterator[tuple[str, str]]:
    """The lines of a private round beside those that all rounds have."""
    if opening is None:
        return
    yield "updates", "masked: only their sum is opened"
    locked, counted = record.locked.bit_count(), len(record.updates)
    yield "locked", f"{locked} of {counted} updates, by {len(record.claims)} claims"
    accepted = record.accepted_result
    if accepted is not None:
        yield "unmasked by", f"{opening.seeds.get(accepted.digest, 0)} seeds"
    if record.expelled:
        yield "expelled", ", ".join(short(update.party) for update in record.expelled)


def opening_tables(
    record: RoundRecord, opening: OpeningRecord | None
) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """The tables of a private round beside those that all rounds have."""
    if opening is None:
        return
    claims = [(short(c.aggregator), str(c.held.bit_count())) for c in record.claims]
    yield "Claims", [("aggregator", "updates held"), *claims]
    releases = [(short(signer), short(str(cid))) for signer, cid in opening.releases]
    yield "Announced releases", [("aggregator", "CID"), *releases]
