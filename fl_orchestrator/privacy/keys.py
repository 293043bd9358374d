"""Keys and derived secrets of private federations (docs/protocol.md, section 12.3).

A public key is the x of a secp256k1 point, 32 bytes. A secret is a hash modulo the curve's order,
negated if its point has an odd y: so the x alone names the point, and both sides of a key agreement
find the same shared point.
"""

import functools
from enum import StrEnum
from typing import Final

from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.words import hash_words

#: The number of points of secp256k1.
CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class PublicKeyError(VerificationError):
    """A public key that is not the x of a point on the curve."""


class Label(StrEnum):
    """What a derived value is for: the T.name of section 12."""

    CONTEXT = "context"
    EPHEMERAL = "ephemeral"
    MASK_KEY = "mask-key"
    NOISE = "noise"
    PAIR = "pair"
    PIECE = "piece"
    SEAT = "seat"
    SHARE = "share"


@functools.cache
def label_word(label: Label) -> bytes:
    """Return the word that stands for a label in a hash: keccak256("flo.<label>")."""
    return keccak256(b"flo." + label.value.encode("ascii"))


def derive(label: Label, *words: bytes | int) -> bytes:
    """Return H(T.label, words...), 32 bytes. Raises ValueError for what is not a word."""
    return hash_words(label_word(label), *words)


def secret_of(digest: bytes) -> bytes:
    """Return the secret that a 32-byte hash (or 32 random bytes) stands for.

    Raises ValueError if the hash is 0 modulo the order; no hash or random value will be.
    """
    from coincurve import PrivateKey

    number = int.from_bytes(digest, "big") % CURVE_ORDER
    point = PrivateKey(number.to_bytes(32, "big")).public_key.format(compressed=True)
    return (CURVE_ORDER - number if point[0] == 3 else number).to_bytes(32, "big")


def mask_secret(z: bytes, round_number: int) -> bytes:
    """Return a party's secret for the masks of a round, from the z that it drew for the round."""
    return secret_of(derive(Label.MASK_KEY, z, round_number))


def ephemeral_secret(z: bytes, ctx: bytes) -> bytes:
    """Return the secret with which a party encrypts the shares of its seal."""
    return secret_of(derive(Label.EPHEMERAL, z, ctx))


def public_key(secret: bytes) -> bytes:
    """Return the public key of a secret that ``secret_of`` returned, 32 bytes."""
    from coincurve import PrivateKey

    return bytes(PrivateKey(secret).public_key.format(compressed=True)[1:])


def is_public_key(x: bytes) -> bool:
    """Whether 32 bytes are the x of a point on the curve."""
    from coincurve import PublicKey

    if len(x) != 32:
        return False
    try:
        PublicKey(b"\2" + x)
    except ValueError:
        return False
    return True


def agree(secret: bytes, x: bytes) -> bytes:
    """Return what two parties share: sha256 of their compressed common point (ecdh), 32 bytes.

    Raises PublicKeyError if the other's key is not on the curve.
    """
    from coincurve import PrivateKey

    try:
        return bytes(PrivateKey(secret).ecdh(b"\2" + x))
    except ValueError as error:
        raise PublicKeyError(
            f"0x{x.hex()} is not a public key: no point of the curve has this x.",
            "The contract refuses such keys, so look whether the node shows the true chain.",
        ) from error
