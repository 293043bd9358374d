"""Makes text from outside harmless before it reaches a terminal or a log.

A manifest, a recorded run, a node's error message or a file's name may contain escape codes that
move a terminal's cursor, characters that reverse the following text, or line ends that forge a log
line.
"""

from __future__ import annotations

import re
from typing import Any, Final

#: C0 and C1 control codes, DEL, characters that reverse or hide text (bidirectional controls, zero
#: width characters, tags), line separators, and lone surrogates, which no stream can encode.
_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def is_printable(text: str) -> bool:
    """Whether a text has no character that a terminal or a line-based reader interprets."""
    return _HARMFUL.search(text) is None


def printable(text: str) -> str:
    """Escape the unprintable characters of a text, as Python does; the result is one line."""
    return _HARMFUL.sub(lambda found: _escaped(found[0]), text)


def printable_lines(text: str, indent: str = "") -> str:
    """Make each line of a text printable; put ``indent`` before all lines but the first.

    The indent prevents that a line of a message is taken for a line of the program itself.
    """
    return f"\n{indent}".join(map(printable, text.expandtabs().split("\n")))


def printable_value(value: Any) -> Any:
    """Make every text in a value printable, also inside lists and dicts."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_value(key): printable_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [printable_value(inner) for inner in value]
    return value


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
