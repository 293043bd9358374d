"""Writes JSON as RFC 8259 defines it, which has no NaN and no infinity.

A number that is not finite becomes null, and the object that contains it gets a key ``not_finite``
with the original value:
``{"loss": null, "not_finite": {"loss": "NaN"}}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

#: The key under which an object lists its numbers that were not finite.
NOT_FINITE: Final = "not_finite"


def to_json(value: Any, *, indent: int | None = None, **options: Any) -> str:
    """Serialize a value as ASCII JSON. ``options`` are passed to json.dumps.

    Raises TypeError for a type that JSON does not have.
    """
    return json.dumps(finite(value), indent=indent, allow_nan=False, **options)


def finite(value: Any) -> Any:
    """Replace each number that is not finite by null, and list it under ``not_finite``."""
    if isinstance(value, Mapping):
        reasons: dict[str, str] = {}
        found = {key: _finite(str(key), inner, reasons) for key, inner in value.items()}
        return {**found, NOT_FINITE: reasons} if reasons else found
    return _finite("", value, {})


def word_for(number: float) -> str | None:
    """Name a number that JSON cannot express: NaN, Infinity or -Infinity. None if it is finite."""
    if math.isfinite(number):
        return None
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def number_of(word: str) -> float:
    """The number that a word of ``word_for`` stands for. Raises ValueError."""
    return float(word)


def _finite(path: str, value: Any, reasons: dict[str, str]) -> Any:
    """Replace what is not finite in the value at ``path``, and record it in ``reasons``."""
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
