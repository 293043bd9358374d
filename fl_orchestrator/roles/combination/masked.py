"""How masked updates and opened seeds make the model of a result (docs/protocol.md, section 12.7).

The seeds are in the event of the result's first attestation, so this needs no aggregator. Of a seal
only the hashes of the seeds matter here: whatever else a party put into it, and whatever its size,
a result with this update can be computed again, and proven wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, Final

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.event_types import MaskedReveal, RevealedUpdate
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.chunk_root import read_masked
from fl_orchestrator.model.disputes.proof import ChunkProof, prove_chunk
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import MASKED_CHUNK_VALUES
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import (
    VectorKind,
    max_file_bytes,
    seal_bytes_of,
)
from fl_orchestrator.model.words import WORD_BYTES, hash_words
from fl_orchestrator.privacy.masks import Masks
from fl_orchestrator.privacy.opening import Opening, OpeningError, seeds_hash
from fl_orchestrator.privacy.seal import MAX_SEAL_BYTES, masked_root, seal_digest
from fl_orchestrator.roles.combination.interface import Combined, Evidence, Updates
from fl_orchestrator.roles.masked.files import LimitedSteps, MaskedFiles
from fl_orchestrator.roles.vectors import Origin, VectorCache, VectorFile, require_root

# More hashes of seeds are not looked for in a seal: a contract counts commits in eight bits.
_MAX_HASHES: Final = 255


class MaskedCombination:
    """The sum of masked updates, less the masks of the seeds that were opened."""

    def __init__(
        self,
        federation: PrivateFederation,
        index: PrivateRoundIndex,
        vectors: VectorCache,
        store: ContentStore,
        manifest: Manifest,
        origin: Origin,
    ) -> None:
        self._federation = federation
        self._index = index
        self._vectors = vectors
        self._store = store
        self._layout = manifest.layout
        self._origin = origin
        self._files = MaskedFiles(vectors, manifest, origin)
        # The number of commits by round: read by the caller's thread, for those that fetch.
        self._sizes: dict[int, int] = {}

    def prepare(self, result: Any) -> None:
        self._sizes[result.round] = self._opening(result)[0].size

    def fetch(self, reveal: RevealedUpdate, stop: Callable[[], bool]) -> VectorFile:
        size, meta = self._sizes[reveal.round], self._origin.masked(reveal.round)

        def root_of(file: BinaryIO) -> bytes:
            sealed = seal_bytes_of(file, self._layout, MAX_SEAL_BYTES)
            values_root, seal = read_masked(file, self._layout, meta, sealed)
            return _parted(values_root, seal, size, reveal.root)[0]

        limit = max_file_bytes(self._layout, VectorKind.MASKED, MAX_SEAL_BYTES)
        return self._vectors.fetch_checked(
            self._store, reveal.cid, reveal.root, meta, limit, root_of, stop, seeks=True
        )

    def combine(self, result: Any, base: VectorFile, updates: Updates) -> Combined:
        opening, seeds, masks = self._opening(result)
        hashes = {
            _commit(reveal): _words(self._seal(file)[: opening.size * WORD_BYTES])
            for file, reveal in updates
        }
        wrong = opening.wrong_seeds(seeds, hashes)
        step_limit = self._federation.private_params().step_limit
        limited, meta = LimitedSteps(step_limit), self._origin.state(result.round)
        weighted = [(file, reveal.weight) for file, reveal in updates]
        file = self._files.unmask(base, weighted, masks, step_limit, meta, limited.watch)
        return Combined(file, wrong[0] if wrong else None, limited.are_most)

    def challenge(self, evidence: Evidence, coordinate: int, models: Sequence[ChunkProof]) -> Call:
        opening, seeds, _ = self._opening(evidence.result)
        proofs = [proof.packed() for proof in models]
        # The updates end where the padding begins.
        place = self._layout.step_coordinate(coordinate)
        if place < self._federation.private_params().parameters:
            index = place // MASKED_CHUNK_VALUES
            leaves = [self._leaf(file, opening.size, index) for file, _ in evidence.updates]
            proofs = [*leaves, *proofs]
        return self._federation.challenge_private(
            evidence.result, evidence.reveals, coordinate, seeds, b"".join(proofs), evidence.salt
        )

    def challenge_seed(self, evidence: Evidence, number: int) -> Call:
        opening, seeds, _ = self._opening(evidence.result)
        k, _ = list(opening.labels())[number]
        file = next(file for file, reveal in evidence.updates if _commit(reveal) == k)
        proof, head, body = self._proof(file, opening.size, 0)
        return self._federation.challenge_seed(
            evidence.result,
            evidence.reveals,
            seeds,
            number,
            head,
            keccak256(body),
            proof.root,
            evidence.salt,
        )

    # ------------------------------------------------------------------ what events say

    def _opening(self, result: Any) -> tuple[Opening, bytes, Masks]:
        """What a result opens: the seeds, in their order, and the masks that they give.

        Raises MissingEvents and UntrueEvents.
        """
        number = result.round
        seeds = self._index.seeds(self._federation.digest_of(result))
        if seeds is None:
            raise MissingEvents(
                f"The node has no seeds of a result of round {number}, which it listed.",
                "Use an RPC endpoint that keeps all logs.",
            )
        if seeds_hash(seeds) != result.seeds_hash:
            raise UntrueEvents(f"the seeds of a result of round {number} are others")
        indices = [_commit(reveal) for reveal in self._index.updates(number)]
        try:
            opening = Opening.of(len(self._index.commits(number)), indices, result.included)
            # The contract has checked the number of the seeds, by that of the commits.
            return opening, seeds, opening.masks(seeds)
        except OpeningError as error:
            raise UntrueEvents(
                f"commits or reveals of round {number} are missing: {error.message}"
            ) from error

    # ------------------------------------------------------------------ files

    def _seal(self, file: VectorFile) -> bytes:
        with file.path.open("rb") as stream:
            size = seal_bytes_of(stream, self._layout, MAX_SEAL_BYTES)
            stream.seek(-size, 2)
            return stream.read(size)

    def _leaf(self, file: VectorFile, size: int, index: int) -> bytes:
        proof, head, body = self._proof(file, size, index)
        return proof.packed() + _seal_hash(head, body)

    def _proof(self, file: VectorFile, size: int, index: int) -> tuple[ChunkProof, bytes, bytes]:
        """The proof of a leaf against the root of the values; and the seal, in its two parts.

        Raises RootMismatch if the file was damaged on this disk.
        """
        seal = self._seal(file)
        with file.path.open("rb") as stream:
            proof = prove_chunk(stream, self._layout, file.meta, index, len(seal))
        root, head, body = _parted(proof.root, seal, size, file.root)
        require_root(file, root)
        return proof, head, body


def _parted(values_root: bytes, seal: bytes, size: int, root: bytes) -> tuple[bytes, bytes, bytes]:
    """The root of an update; and its seal, as the hashes of the seeds and the body.

    A party may put another number of hashes into its seal than there are commits, ``size``: so it
    is the number by which the update has this root. If there is none, the root is another.
    """
    for count in (size, *_others(size, len(seal))):
        head, body = seal[: count * WORD_BYTES], seal[count * WORD_BYTES :]
        if masked_root(values_root, _seal_hash(head, body)) == root:
            return root, head, body
    return masked_root(values_root, seal_digest(seal, size)), b"", b""


def _others(size: int, seal_bytes: int) -> Iterable[int]:
    most = min(_MAX_HASHES, seal_bytes // WORD_BYTES)
    return (count for count in range(most + 1) if count != size)


def _seal_hash(head: bytes, body: bytes) -> bytes:
    return hash_words(keccak256(head), keccak256(body))


def _words(data: bytes) -> list[bytes]:
    return [data[start : start + WORD_BYTES] for start in range(0, len(data), WORD_BYTES)]


def _commit(reveal: RevealedUpdate) -> int:
    if not isinstance(reveal, MaskedReveal):
        raise TypeError("only a private federation has masked updates")
    return reveal.commit
