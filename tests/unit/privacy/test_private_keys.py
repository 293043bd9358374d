"""Secrets, public keys and key agreement."""

import secrets as randomness
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import GOLDEN, each, unhex

from fl_orchestrator.privacy.keys import (
    CURVE_ORDER,
    Label,
    PublicKeyError,
    agree,
    derive,
    ephemeral_secret,
    is_public_key,
    label_word,
    mask_secret,
    public_key,
    secret_of,
)

DIGESTS = st.integers(1, CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


@each("privateLabels")
def test_a_label_is_the_golden_word(row: dict[str, Any]) -> None:
    assert label_word(Label(row["name"])) == unhex(row["label"])


def test_every_label_has_its_golden_word() -> None:
    assert {row["name"] for row in GOLDEN["privateLabels"]} == set(Label)


@each("privateSecrets")
def test_a_secret_its_key_and_what_it_shares_are_the_golden_ones(row: dict[str, Any]) -> None:
    secret = secret_of(unhex(row["digest"]))
    assert secret == unhex(row["secret"])
    assert public_key(secret) == unhex(row["publicKey"])
    assert agree(secret, unhex(row["other"])) == unhex(row["agreed"])


@each("privatePublicKeys")
def test_a_key_off_the_curve_is_refused(row: dict[str, Any]) -> None:
    x, secret = unhex(row["x"]), secret_of(bytes([7] * 32))
    assert is_public_key(x) == row["onCurve"]
    if row["onCurve"]:
        assert len(agree(secret, x)) == 32
    else:
        with pytest.raises(PublicKeyError, match=row["x"]):
            agree(secret, x)


def test_the_golden_keys_are_of_both_kinds() -> None:
    assert {row["onCurve"] for row in GOLDEN["privatePublicKeys"]} == {True, False}


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    secret = secret_of(bytes([7] * 32))
    assert not is_public_key(bytes([1] * size))
    with pytest.raises(PublicKeyError):
        agree(secret, bytes([1] * size))


@settings(max_examples=50)
@given(DIGESTS, DIGESTS)
def test_both_sides_agree(ours: bytes, theirs: bytes) -> None:
    a, b = secret_of(ours), secret_of(theirs)
    assert agree(a, public_key(b)) == agree(b, public_key(a))


def test_a_secret_and_its_negative_are_the_same_secret() -> None:
    digest = randomness.token_bytes(32)
    negative = CURVE_ORDER - int.from_bytes(digest, "big") % CURVE_ORDER
    assert secret_of(digest) == secret_of(negative.to_bytes(32, "big"))
    assert secret_of(secret_of(digest)) == secret_of(digest)


@pytest.mark.parametrize("number", [0, CURVE_ORDER])
def test_zero_is_no_secret(number: int) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        secret_of(number.to_bytes(32, "big"))


def test_a_secret_is_for_one_round_and_one_context() -> None:
    z, ctx = bytes([1] * 32), bytes([2] * 32)
    assert len({mask_secret(z, 1), mask_secret(z, 2), mask_secret(ctx, 1)}) == 3
    assert len({ephemeral_secret(z, ctx), ephemeral_secret(z, z), ephemeral_secret(ctx, ctx)}) == 3


def test_a_derived_value_takes_words_only() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        derive(Label.PIECE, bytes(31))
    with pytest.raises(ValueError, match="uint256"):
        derive(Label.PIECE, -1)
