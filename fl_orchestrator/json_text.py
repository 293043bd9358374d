"""The JSON that the product writes: RFC 8259, which has no NaN and no infinity.

A number that is not finite becomes null; the object it stands in says why, under ``not_finite``:
``{"loss": null, "not_finite": {"loss": "NaN"}}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

#: The key with the reasons for an object's nulls.
NOT_FINITE: Final = "not_finite"


def to_json(value: Any, *, indent: int | None = None, **options: Any) -> str:
    """A value as JSON, in ASCII. ``options`` are json.dumps'. Raises TypeError for other types."""
    return json.dumps(finite(value), indent=indent, allow_nan=False, **options)


def finite(value: Any) -> Any:
    """The value with null for each number that is not finite, and the reason beside it."""
    if isinstance(value, Mapping):
        reasons: dict[str, str] = {}
        found = {key: _finite(str(key), inner, reasons) for key, inner in value.items()}
        return {**found, NOT_FINITE: reasons} if reasons else found
    return _finite("", value, {})


def word_for(number: float) -> str | None:
    """What a number is that JSON has no number for: NaN, Infinity or -Infinity; else None."""
    if math.isfinite(number):
        return None
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def number_of(word: str) -> float:
    """The number that ``word_for`` has the word of. Raises ValueError."""
    return float(word)


def _finite(path: str, value: Any, reasons: dict[str, str]) -> Any:
    """A value at a place of the object that ``reasons`` are of."""
    if isinstance(value, float):
        word = word_for(value)
        if word is None:
            return value
        reasons[path] = word
        return None
    if isinstance(value, Mapping):
        return finite(value)
    if isinstance(value, list | tuple):
        return [_finite(f"{path}[{index}]", inner, reasons) for index, inner in enumerate(value)]
    return value
