"""The arithmetic of docs/protocol.md, section 3, in plain integers and fractions.

It is the reference for golden.json and for the property tests, and shares no code with the product.
"""

import struct
from fractions import Fraction
from math import floor, isqrt, trunc

F = 24
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def weighted_mean(values: list[int], weights: list[int]) -> int:
    total = sum(w * q for w, q in zip(weights, values, strict=True))
    return rounded(total, sum(weights))


def median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def trimmed_mean(values: list[int], trim_bps: int) -> int:
    drop = trim_bps * len(values) // 10_000
    kept = sorted(values)[drop : len(values) - drop]
    return rounded(sum(kept), len(kept))


def rounded(total: int, count: int) -> int:
    """floor((2S + N) / 2N). Python's // rounds towards minus infinity."""
    return (2 * total + count) // (2 * count)


def clipped_chunk(values: list[int], limit: int) -> list[int]:
    """The chunk, scaled down so that its L2 norm is at most ``limit``; 0 is no limit."""
    squares = sum(value**2 for value in values)
    if limit == 0 or squares <= limit**2:
        return values
    root = isqrt(squares - 1) + 1  # rounded up
    return [trunc(Fraction(value * limit, root)) for value in values]


def sat32(value: int) -> int:
    return max(INT32_MIN, min(INT32_MAX, value))


def next_state(state: int, step: int, fraction_bits: int) -> int:
    return sat32(state + step * 2 ** (F - fraction_bits))


def server_step(
    state: int, momentum: int, step: int, fraction_bits: int, rate_bps: int, momentum_bps: int
) -> tuple[int, int]:
    """The next state and the next momentum, which is 0 where there is none."""
    move = step * 2 ** (F - fraction_bits)
    if momentum_bps:
        move = sat32(rounded_half_up(Fraction(momentum * momentum_bps, 10_000)) + move)
    next_value = sat32(state + rounded_half_up(Fraction(move * rate_bps, 10_000)))
    return next_value, move if momentum_bps else 0


def rounded_half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def genesis(weight: float, offset: int) -> int:
    """Round to the nearest integer, half to even, as Python rounds a Fraction."""
    return sat32(round(Fraction(weight) * Fraction(2) ** (F + offset)))


def saturates(weight: float, offset: int) -> bool:
    """Whether a genesis weight is beyond the int32 range."""
    value = round(Fraction(weight) * Fraction(2) ** (F + offset))
    return value != sat32(value)


def view(state: int, offset: int) -> float:
    """The float32 nearest to G * 2^-(24 + o), ties to even, as a Python float (exact)."""
    spare = max(abs(state).bit_length() - 24, 0)
    mantissa = round(Fraction(state, 2**spare))
    exact = float(Fraction(mantissa) * Fraction(2) ** (spare - F - offset))
    (packed,) = struct.unpack(">f", struct.pack(">f", exact))
    assert packed == exact
    return exact


def encode(local: float, state: int, fraction_bits: int, offset: int) -> tuple[int, bool]:
    """The update's value, and whether it was clipped."""
    delta = local - view(state, offset)
    value = round(Fraction(delta) * Fraction(2) ** (fraction_bits + offset))
    return max(-32_767, min(32_767, value)), abs(value) > 32_767
