"""From masked files in a store to the next model: what the aggregators of a round do together."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs
from support.federation import signer, small_manifest
from support.private import CHAIN, FEDERATION, PrivateRound
from web3 import Web3

from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.event_types import MaskedReveal
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.private_digests import Confirmed, Release
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.privacy.masks import masks_of, weighted, with_masks
from fl_orchestrator.privacy.seal import Seal
from fl_orchestrator.roles.aggregator.holding import Holding, Holdings
from fl_orchestrator.roles.aggregator.opening import Opened, Opener, OpenLock
from fl_orchestrator.roles.aggregator.vault import Lock, Vault
from fl_orchestrator.roles.masked.files import MaskedFiles
from fl_orchestrator.roles.masked.rounds import MaskedRound
from fl_orchestrator.roles.masked.words import SignedWord, Words
from fl_orchestrator.roles.vectors import Origin, VectorCache

PLAIN = small_manifest()
SPECS = [(t.name, t.shape, 0) for t in PLAIN.layout.tensors]
MANIFEST = small_manifest(layout_kind="packed", depth=Layout.of(SPECS, packed=True).depth)
SIZE = MANIFEST.layout.parameters
ORIGIN = Origin(CHAIN, FEDERATION)
WEIGHTS = [3, 255, 1, 40, 7]
STEP_LIMIT = 32_767


def offline() -> PrivateFederation:
    """Signs and digests as for a contract, and has no chain."""
    federation = object.__new__(PrivateFederation)
    federation.chain_id = CHAIN
    federation.address = Web3.to_checksum_address(FEDERATION)
    return federation


class Seat:
    """One aggregator's process."""

    def __init__(self, table: Table, position: int) -> None:
        home = table.directory / f"seat-{position}"
        vectors = VectorCache(home / "vectors", MANIFEST)
        self.files = MaskedFiles(vectors, MANIFEST, ORIGIN)
        self.vectors = vectors
        self.vault = Vault(home / "private" / "vault.sqlite", "secret", stretch=False)
        secret = table.made.seat_secrets[position]
        self.holding = Holding(table.seen, position, secret)
        self.words = Words(table.federation, [lambda _round: table.words])
        self.opening = Opener(self.vault, self.words, table.store, relock=False)
        self.open: OpenLock | None = None
        self.table = table
        self.key: LocalSigner = table.signers[position]

    def fetch(self) -> int:
        Holdings(self.files, self.table.store).fetch(self.holding, 0, 1, 30.0)
        return self.holding.claimable(None)

    def begin(self, locked: int) -> OpenLock | None:
        self.open = self.opening.begin(self.holding, locked, None)
        return self.open

    def tell(self, message: Confirmed | Release) -> None:
        word = SignedWord(message, self.table.federation.sign(self.key, message))
        # As it comes from an announcement on the chain.
        read = SignedWord.from_bytes(word.to_bytes())
        assert read == word
        self.table.words.append(word)

    def confirm(self) -> None:
        assert self.open is not None
        confirmed = self.opening.confirm(self.holding, self.open)
        assert confirmed is not None
        self.tell(confirmed)

    def release(self) -> list[Release]:
        assert self.open is not None
        released = self.opening.release(self.holding, self.open)
        for message in released:
            self.tell(message)
        return released

    def gather(self) -> Opened | None:
        assert self.open is not None
        return self.opening.gather(self.holding, self.open)


class Table:
    """A round of five parties and four seats, whose updates are in a store."""

    def __init__(self, directory: Path, seed: int = 1) -> None:
        self.directory = directory
        self.signers = [signer(f"aggregator {position}") for position in range(4)]
        accounts = [key.address for key in self.signers]
        self.made = PrivateRound.of(WEIGHTS, [10, 20, 15, 15], 2, seed, accounts=accounts)
        self.federation = offline()
        self.store = LocalStore(directory / "store")
        self.words: list[SignedWord] = []
        numbers = np.random.default_rng(seed)
        self.updates = [numbers.integers(-32_768, 32_768, SIZE, np.int16) for _ in WEIGHTS]
        self.seals = dict(enumerate(self.made.seals))
        self.seen = MaskedRound(3, bytes([9] * 32), self.made.context, ())

    def reveal(self, *commits: int) -> None:
        """Store the masked updates of these commits, and reveal them in this order."""
        files = MaskedFiles(VectorCache(self.directory / "parties", MANIFEST), MANIFEST, ORIGIN)
        reveals = []
        for place, k in enumerate(commits):
            x = weighted(self.updates[k], WEIGHTS[k])
            blocks = with_masks(in_blocks(x, 4), masks_of(self.made.dealings[k]), SIZE)
            file = files.write(self.made.context, blocks, self.seals[k])
            with file.path.open("rb") as stream:
                cid = cid_of(stream)
            with file.path.open("rb") as stream:
                assert self.store.put(stream) == cid
            party = self.made.context.commits[k].party
            reveals.append(MaskedReveal(3, party, place, WEIGHTS[k], file.root, cid, k))
        self.seen = replace(self.seen, reveals=tuple(reveals))

    def misdeal(self, k: int) -> None:
        """A seal that passes every check, with another seed than its hash says."""
        seal: Seal = self.seals[k]
        hashes = (*seal.hashes[:k], keccak256(b"wrong"), *seal.hashes[k + 1 :])
        self.seals[k] = replace(seal, hashes=hashes)

    def seats(self, *positions: int) -> list[Seat]:
        return [Seat(self, position) for position in positions]

    def expected(self, base: NDArray[np.int32], included: list[int]) -> NDArray[np.int32]:
        total = sum(WEIGHTS[k] * self.updates[k].astype(np.int64) for k in included)
        weight = sum(WEIGHTS[k] for k in included)
        step = np.clip((2 * total + weight) // (2 * weight), -STEP_LIMIT, STEP_LIMIT)
        moved = base.astype(np.int64) + step * 2 ** (24 - MANIFEST.update_fraction_bits)
        result: NDArray[np.int32] = np.clip(moved, -(2**31), 2**31 - 1).astype(np.int32)
        return result


def opened(seats: list[Seat], locked: int) -> list[Opened]:
    """What each seat finds once all have confirmed, released and gathered."""
    for seat in seats:
        seat.fetch()
        assert seat.begin(locked) is not None
    for step in ("confirm", "release", "gather", "release", "gather"):
        found = [getattr(seat, step)() for seat in seats]
    return [one for one in found if one is not None]


def model(seat: Seat, found: Opened) -> NDArray[np.int32]:
    base = np.arange(-5, SIZE - 5, dtype=np.int32) * 1000
    file = seat.files.combine(
        seat.table.seen,
        seat.vectors.write(ORIGIN.state(2), in_blocks(base)),
        found.included,
        seat.holding.files,
        found.seeds,
        STEP_LIMIT,
        ORIGIN.state(3),
    )
    result: NDArray[np.int32] = seat.vectors.load(file)
    assert (result == seat.table.expected(base, included(seat, found))).all()
    return result


def included(seat: Seat, found: Opened) -> list[int]:
    return [r.commit for r in seat.table.seen.reveals if found.included >> r.index & 1]


@pytest.mark.parametrize("away", [None, 0, 2])
def test_a_quorum_opens_the_sum_of_the_locked_updates(tmp_path: Path, away: int | None) -> None:
    table = Table(tmp_path)
    table.reveal(4, 0, 2, 1)  # 3 has dropped out
    seats = table.seats(*(position for position in range(4) if position != away))
    assert [seat.fetch() for seat in seats] == [0b1111] * len(seats)
    found = opened(seats, 0b1111)
    assert len(found) == len(seats)
    assert len(set(found)) == 1
    assert included(seats[0], found[0]) == [4, 0, 2, 1]
    models = [model(seat, one) for seat, one in zip(seats, found, strict=True)]
    assert all((one == models[0]).all() for one in models)


def test_updates_that_are_not_locked_stay_closed(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.reveal(0, 1, 2, 3, 4)
    seats = table.seats(0, 1, 2, 3)
    (first, *_) = opened(seats, 0b01110)
    assert included(seats[0], first) == [1, 2, 3]
    model(seats[0], first)
    pieces = seats[0].open
    assert pieces is not None
    for k in (0, 4):
        assert all(pieces.pieces.seed(k, label) is None for label in range(5))
    # Of two that are locked, what they have in common stays closed.
    assert pieces.pieces.seed(1, 2) is None


def test_nothing_is_released_before_a_quorum_has_confirmed(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.reveal(0, 1, 2)
    seats = table.seats(0, 1, 2, 3)
    for seat in seats:
        seat.fetch()
        seat.begin(0b111)
    seats[1].confirm()
    seats[0].confirm()
    # 30 of 60, and messages of strangers and for another lock.
    stranger = signer("stranger")
    message = Confirmed(3, table.seen.lock(0b111))
    table.words.append(SignedWord(message, table.federation.sign(stranger, message)))
    other = Confirmed(3, table.seen.lock(0b110))
    table.words.append(SignedWord(other, table.federation.sign(table.signers[2], other)))
    assert [seat.release() for seat in seats] == [[]] * 4
    assert seats[0].vault.released(3) is None
    seats[3].confirm()
    assert len(seats[0].release()) == 1
    assert seats[0].vault.released(3) == table.seen.lock(0b111)


def test_a_seat_confirms_and_releases_one_lock_of_a_round(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.reveal(0, 1, 2, 3)
    seats = table.seats(0, 1, 2, 3)
    opened(seats, 0b0111)
    for seat in seats:
        assert seat.open is not None
        # As after a reorganisation, or with the chain of a lying node.
        other = Lock(3, b"\1" * 32, table.seen.lock(0b1110), table.seen.members(0b1110))
        another = replace(seat.open, lock=other, files={}, read=set())
        with capture_logs() as logs:
            assert seat.opening.confirm(seat.holding, another) is None
            for one in seats:
                one.tell(Confirmed(3, other.word))
            assert seat.opening.release(seat.holding, another) == []
            # Once for each lock, though every step asks again.
            assert seat.opening.confirm(seat.holding, another) is None
            assert seat.opening.release(seat.holding, another) == []
        assert [log["event"] for log in logs] == ["confirms nothing", "releases nothing"]


def test_no_lock_but_the_list_of_its_base_is_confirmed(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.reveal(0, 1, 2, 3)
    (seat,) = table.seats(0)
    seat.fetch()
    assert seat.begin(0b0111) is not None
    seat.confirm()
    with capture_logs() as logs:
        assert seat.begin(0b1111) is None
    assert logs[0]["event"] == "alert: a lock that is not the list of its base"
    # By the events of an earlier round, where this seat has confirmed nothing.
    members = table.seen.members(0b1111)
    (fresh,) = table.seats(1)
    fresh.fetch()
    assert fresh.opening.begin(fresh.holding, 0b0111, members) is None
    assert fresh.opening.begin(fresh.holding, 0b1111, members) is not None


def test_a_party_that_misdealt_is_expelled_and_the_sum_is_that_of_the_others(
    tmp_path: Path,
) -> None:
    table = Table(tmp_path)
    table.misdeal(2)
    table.reveal(3, 2, 1, 0)
    seats = table.seats(0, 1, 2, 3)
    with capture_logs() as logs:
        found = opened(seats, 0b1111)
    assert len(set(found)) == 1
    assert included(seats[0], found[0]) == [3, 1, 0]
    model(seats[0], found[0])
    alerts = {log["party"] for log in logs if log["event"] == "alert: a party misdealt"}
    assert alerts == {table.made.context.commits[2].party}


def test_who_misdealt_leaves_the_list_and_is_never_claimed_again(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.misdeal(2)
    table.reveal(3, 2, 1, 0)
    seats = table.seats(0, 1, 2, 3)
    opened(seats, 0b1111)
    for seat in seats:
        misdealers = seat.vault.misdealers()
        assert misdealers == {table.made.context.commits[2].party}
        assert seat.holding.claimable(None, misdealers) == 0b1101
        # On this base: the list, with or without the misdealer, and nothing else.
        assert seat.begin(0b1101) is not None
        assert seat.begin(0b1111) is not None
        for other in (0b1100, 0b1110, 0b0111, 0b0101):
            assert seat.begin(other) is None


def test_a_hostile_release_is_read_and_changes_nothing(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.reveal(0, 1, 2)
    junk = table.store.put(io.BytesIO(bytes(range(256)) * 4))
    lost = cid_of(io.BytesIO(b"lost"))
    huge = table.store.put(io.BytesIO(bytes(1 << 20)))
    hostile = Seat(table, 3)
    for cid in (junk, lost, huge):
        hostile.tell(Release(3, table.seen.lock(0b111), cid))
    seats = table.seats(0, 1, 2)
    with capture_logs() as logs:
        found = opened(seats, 0b111)
    assert len(found) == 3
    model(seats[0], found[0])
    refused = {log["cid"] for log in logs if log["event"] == "a release cannot be had"}
    assert refused == {str(lost), str(huge)}


def test_shares_that_are_wrong_for_one_seat_are_not_claimed_by_it(tmp_path: Path) -> None:
    table = Table(tmp_path)
    seal = table.seals[1]
    wrong = (keccak256(b"wrong"), *seal.shares[2][1:])
    table.seals[1] = replace(seal, shares=(*seal.shares[:2], wrong, *seal.shares[3:]))
    table.reveal(0, 1, 2)
    claims = [seat.fetch() for seat in table.seats(0, 1, 2, 3)]
    assert claims == [0b111, 0b111, 0b101, 0b111]


@pytest.mark.parametrize(
    "data", [b"", bytes(32), bytes(160), bytes(224), keccak256(Confirmed.TYPE) + b"\xff" * 128]
)
def test_an_announcement_of_something_else_is_no_word(data: bytes) -> None:
    assert SignedWord.from_bytes(data) is None
