"""Release files, hostile ones too, and the proof that a party misdealt."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import each, unhex
from support.private import PrivateRound, golden_round

from fl_orchestrator.model.chunk_tree import root_from_proof
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.privacy import release
from fl_orchestrator.privacy.dealing import deal, xor
from fl_orchestrator.privacy.release import (
    Misdealt,
    ReleasedPieces,
    indices,
    labels_for_expulsion,
    labels_for_lock,
    make_release,
    max_release_bytes,
    record_bytes,
)
from fl_orchestrator.privacy.seal import Seal, make_seal, right_shares

LOCKED = 0b01101  # of five commits, those of index 0, 2 and 3
ROUND = PrivateRound.of([1, 2, 3, 4, 5], [3, 2, 2, 1], 2)
SEALS = {k: ROUND.seals[k] for k in (0, 2, 3)}


def files(made: PrivateRound, seals: dict[int, Seal], labels: list[tuple[int, int]]) -> list[bytes]:
    return [
        make_release(made.context, labels, made.shares_of(position, seals))
        for position in range(len(made.context.seats))
    ]


def first_files() -> list[bytes]:
    return files(ROUND, SEALS, list(labels_for_lock(5, LOCKED)))


@each("privateReleaseFiles")
def test_a_release_file_is_the_golden_one(row: dict[str, Any]) -> None:
    context, round_ = golden_round(row["roundRow"])
    locked, position = int(row["locked"], 16), row["position"]
    secret = unhex(round_["seatSecrets"][position])
    seals = {
        k: make_seal(context, deal(context, k, unhex(round_["zs"][k]))) for k in indices(locked)
    }
    shares = {k: right_shares(context, k, s, position, secret) for k, s in seals.items()}
    data = make_release(context, labels_for_lock(context.size, locked), shares)
    assert data == unhex(row["bytes"])
    assert ReleasedPieces(context, seals).add(data) == len(data) // record_bytes(context.size)


def test_a_lock_opens_the_own_seeds_and_those_with_parties_that_are_not_locked() -> None:
    assert list(labels_for_lock(5, LOCKED)) == [
        *[(0, 0), (0, 1), (0, 4)],
        *[(2, 1), (2, 2), (2, 4)],
        *[(3, 1), (3, 3), (3, 4)],
    ]
    assert list(labels_for_lock(3, 0b111)) == [(0, 0), (1, 1), (2, 2)]


def test_an_expulsion_opens_what_the_expelled_party_knew() -> None:
    assert list(labels_for_expulsion(LOCKED, 2)) == [(0, 2), (3, 2)]


def test_all_seats_together_open_exactly_the_seeds_of_the_lock() -> None:
    released = ReleasedPieces(ROUND.context, SEALS)
    for data in first_files():
        released.add(data)
    wanted = set(labels_for_lock(5, LOCKED))
    for k in range(5):
        for label in range(5):
            expected = ROUND.dealings[k].seeds[label] if (k, label) in wanted else None
            assert released.seed(k, label) == expected
    assert released.misdealt() == ()


def test_a_file_is_ascending_and_the_same_whoever_makes_it_again() -> None:
    labels = list(labels_for_lock(5, LOCKED))
    width = record_bytes(5)
    for position, data in enumerate(first_files()):
        keys = [data[start : start + 3] for start in range(0, len(data), width)]
        assert keys == sorted(set(keys))
        shares = ROUND.shares_of(position, dict(reversed(SEALS.items())))
        assert make_release(ROUND.context, labels[::-1], shares) == data


def test_the_size_of_a_file_is_known_before_it_is_read() -> None:
    for position, data in enumerate(first_files()):
        assert len(data) == max_release_bytes(ROUND.context, LOCKED, position)
    for position, data in enumerate(files(ROUND, SEALS, list(labels_for_expulsion(LOCKED, 2)))):
        assert 0 < len(data) <= max_release_bytes(ROUND.context, LOCKED, position)


def test_seats_that_could_not_get_an_update_release_the_others() -> None:
    shares = ROUND.shares_of(0, {k: SEALS[k] for k in (0, 3)})
    data = make_release(ROUND.context, labels_for_lock(5, LOCKED), shares)
    released = ReleasedPieces(ROUND.context, SEALS)
    released.add(data)
    assert {k for k in range(5) if len(released.missing(k, k)) < len(ROUND.context.sets)} == {0, 3}


def test_a_coalition_without_enough_stake_opens_nothing_alone() -> None:
    for members in ROUND.context.sets:
        released = ReleasedPieces(ROUND.context, SEALS)
        for position in indices(members):
            released.add(first_files()[position])
        assert {released.seed(k, k) for k in SEALS} == {None}


def test_a_quorum_opens_everything_while_the_others_are_away() -> None:
    for away in range(4):
        if 3 * ROUND.context.seats[away].stake >= sum(s.stake for s in ROUND.context.seats):
            continue
        released = ReleasedPieces(ROUND.context, SEALS)
        for position, data in enumerate(first_files()):
            if position != away:
                released.add(data)
        assert all(released.seed(*label) for label in labels_for_lock(5, LOCKED))


@pytest.mark.parametrize("byte", range(record_bytes(5)))
def test_a_changed_byte_anywhere_in_a_record_drops_it(byte: int) -> None:
    data = first_files()[0]
    width = record_bytes(5)
    changed = bytearray(data[:width])
    changed[byte] ^= 0x80
    assert ReleasedPieces(ROUND.context, SEALS).add(bytes(changed)) == 0
    assert ReleasedPieces(ROUND.context, SEALS).add(data[:width]) == 1


def test_wrong_records_are_dropped_and_the_right_ones_beside_them_are_kept() -> None:
    data, width = first_files()[0], record_bytes(5)
    records = [data[start : start + width] for start in range(0, len(data), width)]
    spoilt = [*records[:3], bytes(width), records[3][:-1] + b"x", *records[4:]]
    released = ReleasedPieces(ROUND.context, SEALS)
    assert released.add(b"".join(spoilt)) == len(records) - 1
    assert released.add(data) == 1
    assert released.add(data) == 0


def test_records_out_of_order_and_repeated_ones_cost_no_hashing() -> None:
    data, width = first_files()[0], record_bytes(5)
    records = [data[start : start + width] for start in range(0, len(data), width)]
    released = ReleasedPieces(ROUND.context, SEALS)
    assert released.add(b"".join(records[::-1])) == 1
    assert released.add(b"".join(records[-1:] * 50)) == 0


def test_a_wrong_record_that_is_repeated_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counted(leaf: bytes, index: int, path: list[bytes]) -> bytes:
        hashed.append(index)
        return root_from_proof(leaf, index, path)

    monkeypatch.setattr(release, "root_from_proof", counted)
    wrong = first_files()[0][: record_bytes(5) - 1] + b"x"
    assert ReleasedPieces(ROUND.context, SEALS).add(wrong * 1_000) == 0
    assert len(hashed) == 1


def test_a_label_beyond_the_commits_is_dropped_where_its_path_ends_at_the_same_leaf() -> None:
    """In a full tree of four, bits 0 and 1 of label 4 lead to the leaf of label 0."""
    made = PrivateRound.of([1, 2, 3, 4], [1], 2)
    seals = {0: made.seals[0]}
    data = make_release(made.context, [(0, 0)], made.shares_of(0, seals))
    assert ReleasedPieces(made.context, seals).add(data) == 1
    assert ReleasedPieces(made.context, seals).add(data[:2] + b"\4" + data[3:]) == 0


@settings(max_examples=60)
@given(st.binary(max_size=2_000), st.integers(0, 2**32))
def test_any_bytes_are_read_and_nothing_is_believed(data: bytes, seed: int) -> None:
    draw = random.Random(seed)
    released = ReleasedPieces(ROUND.context, SEALS)
    keys = [bytes((draw.randrange(6), draw.randrange(8), draw.randrange(6))) for _ in range(5)]
    width = record_bytes(5) - 3
    assert released.add(data) == 0
    assert released.add(b"".join(key + draw.randbytes(width) for key in sorted(keys))) == 0


def test_a_file_that_ends_within_a_record_is_read_up_to_there() -> None:
    data, width = first_files()[1], record_bytes(5)
    count = len(data) // width
    assert ReleasedPieces(ROUND.context, SEALS).add(data[:-1]) == count - 1


def test_a_piece_of_another_place_in_the_tree_is_dropped() -> None:
    data, width = first_files()[0], record_bytes(5)
    record = data[:width]
    moved = record[:2] + bytes((record[2] + 1,)) + record[3:]
    assert ReleasedPieces(ROUND.context, SEALS).add(moved) == 0


def misdealing(k: int, label: int) -> dict[int, Seal]:
    """The seals, of which that of k has the hash of another seed at a label."""
    hashes = list(SEALS[k].hashes)
    hashes[label] = keccak256(b"another")
    return {**SEALS, k: replace(SEALS[k], hashes=tuple(hashes))}


@pytest.mark.parametrize(("k", "label"), [(2, 2), (2, 1), (0, 4)])
def test_right_pieces_with_a_wrong_seed_prove_that_the_party_misdealt(k: int, label: int) -> None:
    seals = misdealing(k, label)
    released = ReleasedPieces(ROUND.context, seals)
    *most, last = files(ROUND, seals, list(labels_for_lock(5, LOCKED)))
    released.add(most[0])
    assert released.misdealt() == ()
    for data in (*most[1:], last):
        released.add(data)
    assert released.misdealt() == (Misdealt(k, label),)
    assert released.seed(k, label) is None
    for other in SEALS.keys() - {k}:
        assert released.seed(other, other) == ROUND.dealings[other].seeds[other]


def test_a_wrong_correction_proves_it_too() -> None:
    corrections = list(SEALS[3].corrections)
    corrections[1] = xor((corrections[1], bytes([1] * 32)))
    seals = {**SEALS, 3: replace(SEALS[3], corrections=tuple(corrections))}
    released = ReleasedPieces(ROUND.context, seals)
    for data in files(ROUND, seals, list(labels_for_lock(5, LOCKED))):
        released.add(data)
    assert released.misdealt() == (Misdealt(3, 1),)


def test_an_expulsion_opens_the_masks_with_the_expelled_party() -> None:
    seals = misdealing(2, 2)
    released = ReleasedPieces(ROUND.context, seals)
    for labels in (labels_for_lock(5, LOCKED), labels_for_expulsion(LOCKED, 2)):
        for data in files(ROUND, seals, list(labels)):
            released.add(data)
    assert released.seed(0, 2) == ROUND.dealings[0].seeds[2]
    assert released.seed(3, 2) == ROUND.dealings[3].seeds[2]
    assert released.seed(0, 3) is None


def test_nobody_proves_an_honest_party_to_have_misdealt() -> None:
    """Whatever is added of other rounds and with changed bytes, an honest seal stays unproved."""
    other = PrivateRound.of([1, 2, 3, 4, 5], [3, 2, 2, 1], 2, seed=1)
    released = ReleasedPieces(ROUND.context, SEALS)
    draw = random.Random(2)
    labels = [(k, label) for k in SEALS for label in range(5)]
    for data in [
        *files(ROUND, SEALS, labels),
        *files(other, {k: other.seals[k] for k in SEALS}, labels),
    ]:
        changed = bytearray(data)
        for _ in range(20):
            changed[draw.randrange(len(changed))] ^= 1
        released.add(bytes(changed))
    assert released.misdealt() == ()
