"""Seals: their bytes, and what is refused."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import each, unhex
from support.private import PrivateRound, golden_round

from fl_orchestrator.privacy.dealing import deal
from fl_orchestrator.privacy.keys import PublicKeyError, is_public_key, secret_of
from fl_orchestrator.privacy.seal import (
    SealError,
    make_seal,
    masked_root,
    parse_seal,
    right_shares,
    seal_bytes,
)

HOSTILE = PrivateRound.of([1, 2, 3], [1, 1, 1, 1], 2)


@each("privateSeals")
def test_a_seal_is_the_golden_one(row: dict[str, Any]) -> None:
    context, round_ = golden_round(row["roundRow"])
    seal = make_seal(context, deal(context, row["index"], unhex(round_["zs"][row["index"]])))
    assert seal.head == unhex(row["head"])
    assert seal.body == unhex(row["body"])
    assert seal.digest() == unhex(row["sealHash"])
    assert masked_root(unhex(row["valuesRoot"]), seal.digest()) == unhex(row["root"])
    assert parse_seal(context, row["index"], seal.to_bytes()) == seal


@each("privateSeals")
def test_a_seat_finds_its_shares_in_a_golden_seal(row: dict[str, Any]) -> None:
    context, round_ = golden_round(row["roundRow"])
    seal = parse_seal(context, row["index"], unhex(row["head"]) + unhex(row["body"]))
    shares = deal(context, row["index"], unhex(round_["zs"][row["index"]])).shares
    for position, secret in enumerate(round_["seatSecrets"]):
        found = right_shares(context, row["index"], seal, position, unhex(secret))
        assert found == {a: shares[a] for a in context.held_by(position)}


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 2))
def test_the_size_of_a_seal_is_known_before_it_is_read(
    parties: int, stakes: list[int], secrecy: int
) -> None:
    made = PrivateRound.of([1] * parties, stakes, secrecy)
    assert {len(seal.to_bytes()) for seal in made.seals} == {seal_bytes(made.context)}


def test_the_size_is_that_of_the_text() -> None:
    made = PrivateRound.of([1] * 10, [1] * 4, 2)
    assert seal_bytes(made.context) == 1248
    large = replace(made.context, commits=made.context.commits * 10)
    wide = PrivateRound.of([1], [1] * 10, 2).context
    assert seal_bytes(replace(wide, commits=large.commits)) == 40_032


@pytest.mark.parametrize("change", [-32, -1, 1, 32])
def test_a_seal_of_another_size_is_refused(change: int) -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1, 1], 2)
    data = made.seals[1].to_bytes()
    with pytest.raises(SealError, match=f"{len(data) + change} bytes instead of {len(data)}"):
        parse_seal(made.context, 1, (data + bytes(32))[: len(data) + change])


def test_an_ephemeral_key_off_the_curve_is_refused() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1, 1], 2)
    seal = replace(made.seals[1], ephemeral=bytes(32))
    with pytest.raises(SealError, match="not on the curve"):
        parse_seal(made.context, 1, seal.to_bytes())


def test_a_correction_of_the_own_seed_is_refused() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1, 1], 2)
    with pytest.raises(SealError, match="own seed"):
        parse_seal(made.context, 2, made.seals[1].to_bytes())


def test_a_seat_without_a_key_on_the_curve_gets_no_shares() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1, 1], 2)
    seats = (replace(made.context.seats[0], key=bytes(32)), *made.context.seats[1:])
    with pytest.raises(PublicKeyError):
        make_seal(replace(made.context, seats=seats), made.dealings[0])


def test_a_wrong_share_is_found_and_the_others_are_kept() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1, 1, 1], 2)
    context, seal = made.context, made.seals[1]
    spoilt = (bytes(32), *seal.shares[2][1:])
    changed = replace(seal, shares=(*seal.shares[:2], spoilt, *seal.shares[3:]))
    first, *others = context.held_by(2)
    assert first not in right_shares(context, 1, changed, 2, made.seat_secrets[2])
    assert sorted(right_shares(context, 1, changed, 2, made.seat_secrets[2])) == others
    for position in (0, 1, 3):
        found = right_shares(context, 1, changed, position, made.seat_secrets[position])
        assert tuple(found) == context.held_by(position)


def test_no_seat_reads_a_copied_seal_or_the_shares_of_another_seat() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1, 1, 1], 2)
    context, seal, secrets = made.context, made.seals[1], made.seat_secrets
    assert right_shares(context, 2, seal, 0, secrets[0]) == {}
    assert right_shares(context, 1, seal, 1, secrets[0]) == {}
    assert right_shares(context, 1, seal, 0, secret_of(bytes([5] * 32))) == {}
    assert right_shares(replace(context, ctx=bytes(32)), 1, seal, 0, secrets[0]) == {}


@pytest.mark.parametrize("position", [0, 3])
def test_every_word_of_a_seal_is_in_its_hash(position: int) -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1], 2)
    data = made.seals[1].to_bytes()
    hashes = {made.seals[1].digest()}
    for word in range(len(data) // 32):
        changed = bytearray(data)
        changed[32 * word + position] ^= 1
        try:
            hashes.add(parse_seal(made.context, 1, bytes(changed)).digest())
        except SealError:  # the key, or the own correction
            hashes.add(bytes([word] * 32))
    assert len(hashes) == 1 + len(data) // 32


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_any_bytes_of_the_right_size_are_a_seal_without_shares_or_refused(seed: int) -> None:
    context, secrets = HOSTILE.context, HOSTILE.seat_secrets
    data = bytearray(random.Random(seed).randbytes(seal_bytes(context)))
    data[6 * 32 : 7 * 32] = bytes(32)  # the correction of index 2
    if is_public_key(bytes(data[3 * 32 : 4 * 32])):
        seal = parse_seal(context, 2, bytes(data))
        assert seal.to_bytes() == bytes(data)
        assert right_shares(context, 2, seal, 0, secrets[0]) == {}
    else:
        with pytest.raises(SealError, match="curve"):
            parse_seal(context, 2, bytes(data))
