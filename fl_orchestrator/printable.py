"""Makes text from outside harmless before it reaches a terminal or a log.

A manifest, a recorded run, a node's error message or a file's name may have escape codes that move
a terminal's cursor, characters that reverse what follows, or line ends that forge a line.
"""

from __future__ import annotations

import re
from typing import Any, Final

#: C0 and C1 control codes, DEL, what reverses or hides text (bidirectional controls, zero width,
#: tags), separators of lines, and halves of surrogate pairs, which no stream can encode.
_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def is_printable(text: str) -> bool:
    """Whether a text has nothing that a terminal or a reader of lines acts on."""
    return _HARMFUL.search(text) is None


def printable(text: str) -> str:
    """One line of text, in which what is not printable is escaped as Python would write it."""
    return _HARMFUL.sub(lambda found: _escaped(found[0]), text)


def printable_lines(text: str, indent: str = "") -> str:
    """Text of several lines, each of them printable; ``indent`` begins all but the first.

    With an indent no line of a message can pass for one that the program prints itself.
    """
    return f"\n{indent}".join(map(printable, text.expandtabs().split("\n")))


def printable_value(value: Any) -> Any:
    """A value for a log, with every text in it, and in its lists and dicts, made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_value(key): printable_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [printable_value(inner) for inner in value]
    return value


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
