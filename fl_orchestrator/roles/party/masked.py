"""How a party's update reaches a private federation: masked, so that only a sum can be read.

Before the commit the party draws z and keeps it with its update. When the commit phase has closed,
it knows the others' mask keys and the aggregators' keys, and masks the update with them. After a
restart the same z gives the same masked update. See docs/protocol.md, sections 12.3 to 12.5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from fl_orchestrator.chain.contract.private import NO_MASK_KEY, PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import (
    CommitView,
    MaskedUpdate,
    Observation,
    PrivateObservation,
    SignedMaskedCommit,
)
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.private_digests import PrivateCommit, PrivateReveal
from fl_orchestrator.model.vector_file import VectorReader, in_blocks
from fl_orchestrator.privacy.dealing import deal
from fl_orchestrator.privacy.keys import mask_secret, public_key
from fl_orchestrator.privacy.masks import UInt32, masks_of, weighted, with_masks
from fl_orchestrator.privacy.noise import noise_seed, with_noise, within_norm
from fl_orchestrator.privacy.seal import make_seal
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.masked.files import MaskedFiles
from fl_orchestrator.roles.masked.relay import PrivateRelay
from fl_orchestrator.roles.masked.rounds import MaskedRounds
from fl_orchestrator.roles.masked.witnesses import Seen, Witnesses
from fl_orchestrator.roles.party.journal import EntryFolder
from fl_orchestrator.roles.party.readers import Readers
from fl_orchestrator.roles.party.submission import Blocks, Message, MustSitOut
from fl_orchestrator.roles.relay import RELAY_SHARE, Relay

_log = get_logger(__name__)

_MASKS: Final = "masks.json"
_NO_SIGNATURE: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class MaskedEntry:
    """What a party keeps of a round; ``z`` and the file at ``path`` are secret."""

    round: int
    weight: int
    z: bytes
    path: Path

    @property
    def mask_key(self) -> bytes:
        return public_key(mask_secret(self.z, self.round))

    def opens(self, slot: CommitView) -> bool:
        """Whether the contract's slot has this weight; whose key it has is checked before use."""
        return slot.commitment[-1] == self.weight


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A masked update on this disk."""

    ctx: bytes
    commits_hash: bytes
    root: bytes
    cid: Cid
    path: Path


class MaskedSubmission:
    """Commits to a mask key, and reveals the masked update.

    ``draw(round)`` gives 32 bytes that nobody else can predict. ``trusted`` are the aggregators
    that may read the party's updates together; None trusts all that the owner admitted.
    """

    def __init__(
        self,
        context: Context,
        draw: Callable[[int], bytes],
        trusted: Collection[str] | None = None,
    ) -> None:
        federation = context.federation
        if not isinstance(federation, PrivateFederation):
            raise TypeError("only a private federation takes masked updates")
        self._federation = federation
        self._signer = context.sender.signer
        self._store = context.store
        self._retention = context.retention
        self._origin = context.origin
        self._vectors = context.vectors()
        self._layout = context.manifest.layout
        self._noise = context.manifest.noise
        self._bits = context.manifest.update_fraction_bits
        self._files = MaskedFiles(self._vectors, context.manifest, context.origin)
        self._index = PrivateRoundIndex(federation, context.deployed_at)
        self._rounds = MaskedRounds(federation, self._index)
        self._witnesses = Witnesses(context.endpoints, self._signer.address, context.deployed_at)
        self._draw = draw
        self._trusted = None if trusted is None else frozenset(trusted)
        self._alone_in: str | None = None
        self._journal = EntryFolder(context.home / "journal", _MASKS)
        self._prepared: _Prepared | None = None

    # ------------------------------------------------------------------ the journal

    def entry(self, round_number: int) -> MaskedEntry | None:
        def read(values: Any) -> MaskedEntry | None:
            path = self._journal.path(round_number)
            z, weight = bytes.fromhex(values["z"]), values["weight"]
            right = len(z) == 32 and isinstance(weight, int) and 1 <= weight <= 255
            return MaskedEntry(round_number, weight, z, path) if right else None

        return self._journal.load(round_number, read)

    def prepare(
        self, round_number: int, blocks: Blocks, weight: int, state: bytes | None = None
    ) -> MaskedEntry:
        if self._noise is not None:
            vector = np.concatenate(list(blocks))
            blocks = in_blocks(within_norm(vector, self._noise.norm(self._bits)))
        file = self._vectors.write(self._origin.update(round_number), blocks)
        z = self._draw(round_number)
        values = {"party": self._signer.address, "weight": weight, "z": z.hex()}
        path = self._journal.save(round_number, values, file.path, state)
        return MaskedEntry(round_number, weight, z, path)

    def permit(self, seen: Observation, weight: int | None) -> None:
        self._index.search_to(seen.block_number)
        number, base_root = seen.current.round, seen.current.base_root

        def ask(index: PrivateRoundIndex, rounds: MaskedRounds) -> object:
            listed = rounds.list_on(base_root, number)
            return index.seat_table(number), listed, rounds.locks_before(number)

        shown = ask(self._index, self._rounds)
        self._witnesses.require("the seats", shown, lambda other: ask(other.index, other.rounds))
        self._require_budget(number)
        rows = self._index.seat_table(number)
        self._require_trust(number, [(row.account, row.stake) for row in rows])
        self._require_list(number, base_root, weight)

    def forget_before(self, round_number: int) -> None:
        self._journal.forget_before(round_number)

    # ------------------------------------------------------------------ messages

    def come_back(self, round_number: int) -> Message:
        return self._commit(round_number, 0, NO_MASK_KEY)

    def commit(self, entry: MaskedEntry) -> Message:
        return self._commit(entry.round, entry.weight, entry.mask_key)

    def _commit(self, round_number: int, weight: int, mask_key: bytes) -> Message:
        party = self._signer.address

        def post(relay: Relay) -> None:
            message = PrivateCommit(round_number, party, weight, mask_key)
            signature = self._federation.sign(self._signer, message)
            commit = SignedMaskedCommit(party, weight, mask_key, signature.r, signature.vs)
            _private(relay).post_masked_commit(round_number, commit)

        return Message(self._federation.commit_masks(round_number, weight, mask_key), post)

    def reveal(self, seen: Observation, entry: MaskedEntry, provide: bool) -> Message:
        """The reveal. Raises MustSitOut if the round is not as private as it must be."""
        masked = self._mask(cast(PrivateObservation, seen), entry)
        party = self._signer.address
        if provide:
            if self._retention is not None:
                self._retention.note([(masked.cid, self._origin.masked(entry.round))])
            self._store.put_file(masked.path)

        def post(relay: Relay) -> None:
            update = self._signed(entry, masked)
            left = seen.current.reveal_end - seen.timestamp
            _private(relay).put_masked(entry.round, update, masked.path, left * RELAY_SHARE)
            _private(relay).post_masked_reveal(entry.round, update)

        own = MaskedUpdate(party, masked.root, masked.cid, _NO_SIGNATURE, _NO_SIGNATURE)
        return Message(self._federation.reveal_masked(masked.commits_hash, [own]), post)

    def upload(self, seen: Observation, entry: MaskedEntry) -> Callable[[Relay], None]:
        """Most aggregators may have claimed it by another way; the others fetch it then."""
        masked = self._mask(cast(PrivateObservation, seen), entry)
        seconds = ((seen.phase_end or 0) - seen.timestamp) * RELAY_SHARE

        def post(relay: Relay) -> None:
            update = self._signed(entry, masked)
            _private(relay).put_masked(entry.round, update, masked.path, seconds)

        return post

    def _signed(self, entry: MaskedEntry, masked: _Prepared) -> MaskedUpdate:
        """The reveal as a relay sends it."""
        party = self._signer.address
        message = PrivateReveal(entry.round, party, masked.commits_hash, masked.root, masked.cid)
        signature = self._federation.sign(self._signer, message)
        return MaskedUpdate(party, masked.root, masked.cid, signature.r, signature.vs)

    def _mask(self, seen: PrivateObservation, entry: MaskedEntry) -> _Prepared:
        self._index.search_to(seen.block_number)
        current = self._rounds.current(seen)
        if self._prepared is not None and self._prepared.ctx == current.context.ctx:
            return self._prepared
        shown = (current.context.ctx, self._rounds.list_on(current.base_root, current.number))

        def ask(other: Seen) -> object:
            found = other.rounds.current(other.observation)
            return found.context.ctx, other.rounds.list_on(found.base_root, found.number)

        self._witnesses.require("the commits", shown, ask)
        seats = [(seat.account, seat.stake) for seat in current.context.seats]
        self._require_trust(entry.round, seats)
        self._require_list(entry.round, current.base_root, entry.weight)
        self._require_budget(entry.round)
        index = current.index_of(self._signer.address)
        if index is None:
            raise MustSitOut(f"The node has no commit of this party in round {entry.round}.")
        dealing = deal(current.context, index, entry.z)
        seal = make_seal(current.context, dealing)
        with entry.path.open("rb") as stream:
            reader = VectorReader(stream, self._layout, self._origin.update(entry.round))
            blocks = self._with_noise(entry, reader.blocks())
            masked = with_masks(blocks, masks_of(dealing), self._layout.parameters)
            file = self._files.write(current.context, masked, seal)
        self._prepared = _Prepared(
            current.context.ctx, current.commits_hash, file.root, file.cid, file.path
        )
        return self._prepared

    def _with_noise(self, entry: MaskedEntry, blocks: Iterable[Any]) -> Iterator[UInt32]:
        products = (weighted(block, entry.weight) for block in blocks)
        if self._noise is None:
            return products
        seed = noise_seed(entry.z, entry.round)
        variance = self._noise.variance(self._bits)
        return with_noise(products, seed, variance, self._layout.parameters)

    def _require_budget(self, round_number: int) -> None:
        """Refuse to be in one more sum than the manifest's epsilon is for."""
        if self._noise is None:
            return
        opened = self._rounds.locks_before(round_number)
        if opened >= self._noise.rounds:
            raise MustSitOut(
                f"The privacy budget is spent: {opened} sums were opened, and the manifest's noise "
                f"is for {self._noise.rounds}.",
                "Start a new federation from the head's model, with noise for more rounds.",
            )

    def _require_trust(self, round_number: int, seats: Sequence[tuple[str, int]]) -> None:
        """Refuse seats, (account, stake), of which the others could read the update."""
        secrecy = self._federation.private_params().secrecy
        readers = Readers(tuple(seats), secrecy, self._trusted)
        if readers.alone is not None and self._alone_in != readers.alone:
            self._alone_in = readers.alone
            _log.error("alert: one aggregator can read every update", aggregator=readers.alone)
        if not readers.accepted:
            raise MustSitOut(
                f"Aggregators that this party does not trust could read its update of round "
                f"{round_number}.",
                "Ask the owner who was admitted; add the aggregators that you trust to `trust`.",
            )

    def _require_list(self, round_number: int, base_root: bytes, weight: int | None) -> None:
        """Refuse a base root on which others were locked, or this party with another weight.

        The sums of both rounds together could show an update.
        """
        if self._federation.private_params().relock:
            return
        members = self._rounds.list_on(base_root, round_number)
        own = {w for party, w in members or () if party == self._signer.address}
        if members is not None and (not own or weight not in (None, *own)):
            raise MustSitOut(
                f"Round {round_number} starts from a model on which other updates were opened.",
                "It goes on when a later model is accepted; see `flo round list`.",
            )


def _private(relay: Relay) -> PrivateRelay:
    """The relay of a private federation's party, which is always a private one."""
    return cast(PrivateRelay, relay)
