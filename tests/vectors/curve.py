"""secp256k1 in plain Python integers: slow, and not for secrets, but independent of any library."""

import hashlib
from typing import TypeAlias

FIELD = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BASE_X = 0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798

Point: TypeAlias = tuple[int, int] | None


def lifted(x: int) -> tuple[int, int] | None:
    """The point with this x and an even y, if there is one."""
    square = (x**3 + 7) % FIELD
    y = pow(square, (FIELD + 1) // 4, FIELD)
    if x >= FIELD or y * y % FIELD != square:
        return None
    return x, y if y % 2 == 0 else FIELD - y


def added(p: Point, q: Point) -> Point:
    if p is None or q is None:
        return p or q
    (px, py), (qx, qy) = p, q
    if px == qx and (py + qy) % FIELD == 0:
        return None
    rise, run = (3 * px * px, 2 * py) if p == q else (qy - py, qx - px)
    slope = rise * pow(run, -1, FIELD)
    x = (slope * slope - px - qx) % FIELD
    return x, (slope * (px - x) - py) % FIELD


def times(number: int, point: Point) -> tuple[int, int]:
    total: Point = None
    for bit in bin(number)[2:]:
        total = added(total, total)
        if bit == "1":
            total = added(total, point)
    assert total is not None
    return total


def secret_of(digest: bytes) -> int:
    number = int.from_bytes(digest, "big") % ORDER
    _, y = times(number, lifted(BASE_X))
    return number if y % 2 == 0 else ORDER - number


def public_key(secret: int) -> bytes:
    return times(secret, lifted(BASE_X))[0].to_bytes(32, "big")


def agreed(secret: int, key: bytes) -> bytes:
    x, y = times(secret, lifted(int.from_bytes(key, "big")))
    return hashlib.sha256(bytes((2 + y % 2,)) + x.to_bytes(32, "big")).digest()
