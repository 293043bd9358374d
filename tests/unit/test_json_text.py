"""The JSON that the product writes: what is no number is null, with its reason beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.json_text import NOT_FINITE, number_of, to_json, word_for

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


@given(st.dictionaries(st.text(), values))
def test_whatever_is_written_is_json_that_anybody_reads(value: dict[str, Any]) -> None:
    text = to_json(value)
    strict(text)
    assert text.isascii()
    assert "\n" not in text


def test_a_number_that_is_not_finite_is_null_with_the_reason_beside_it() -> None:
    value = {"loss": math.nan, "auc": 0.5, "inner": {"x": -math.inf}, "list": [1.0, math.inf]}
    assert strict(to_json(value)) == {
        "loss": None,
        "auc": 0.5,
        "inner": {"x": None, NOT_FINITE: {"x": "-Infinity"}},
        "list": [1.0, None],
        NOT_FINITE: {"loss": "NaN", "list[1]": "Infinity"},
    }


def test_what_is_finite_is_written_as_ever() -> None:
    value = {"a": [1, 2.5, "x", None, True], "b": {}}
    assert to_json(value) == json.dumps(value)
    assert to_json(value, indent=2) == json.dumps(value, indent=2)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_reason_says_which_number_it_was(number: float) -> None:
    word = word_for(number)
    assert word is not None
    assert repr(number_of(word)) == repr(number)
    assert word_for(1.5) is None


def test_no_other_module_writes_json(checkout: Path) -> None:
    """But for two formats of others: a safetensors header, and what is in a .keras file."""
    writers = {
        str(path.relative_to(checkout / "fl_orchestrator"))
        for path in (checkout / "fl_orchestrator").rglob("*.py")
        if "json.dump" in path.read_text(encoding="utf-8")
    }
    assert writers == {"json_text.py", "model/vector_file.py", "training/weights_file.py"}
