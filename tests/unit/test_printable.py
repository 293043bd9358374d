"""Text from outside: nothing in it acts on a terminal, and all of it can be seen."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.printable import (
    is_printable,
    printable,
    printable_lines,
    printable_value,
)

anything = st.text(st.characters())  # with lone surrogates


@given(anything)
def test_what_is_made_printable_is_printable(text: str) -> None:
    shown = printable(text)
    assert is_printable(shown)
    assert is_printable(text) == (shown == text)
    shown.encode()
    categories = {unicodedata.category(character) for character in shown}
    assert not categories & {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2K\rVerified", r"\x1b[2K\rVerified"),
        ("a\nb\0c", r"a\nb\x00c"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("abc\u202ecba", r"abc\u202ecba"),
        ("\u2066x\u2069\u200e\u061c", r"\u2066x\u2069\u200e\u061c"),
        ("x\u2028y\u2029", r"x\u2028y\u2029"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("é 中文 😀 …", "é 中文 😀 …"),
    ],
)
def test_only_what_acts_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines_and_cannot_pass_for_the_programs_own() -> None:
    assert printable_lines("Failed:\nVerified: 3 rounds\x1b[0m", "  ") == (
        "Failed:\n  Verified: 3 rounds\\x1b[0m"
    )


def test_every_text_in_a_value_is_made_printable() -> None:
    value = {"a\n": ["\x1b", {"b": ("\u202e", 5)}], "c": None}
    assert printable_value(value) == {"a\\n": ["\\x1b", {"b": ["\\u202e", 5]}], "c": None}
