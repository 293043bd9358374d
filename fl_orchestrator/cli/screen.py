"""A Rich console that escapes control characters in the text that it prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fl_orchestrator.cli import streams
from fl_orchestrator.printable import is_printable, printable_lines

# The width of piped output: large enough that tables do not cut addresses.
_PIPED_WIDTH: Final = 160


class Screen(Console):
    """stdout or stderr. Only Rich's own control codes reach it; those in a text are escaped."""

    def __init__(self, stderr: bool) -> None:
        piped = not (stderr or streams.stdout().isatty())
        width = _PIPED_WIDTH if piped else None
        # Without emoji: FILE.py:office is the name of a function, and no picture of an office.
        super().__init__(stderr=stderr, highlight=False, emoji=False, width=width)

    @property
    def file(self) -> IO[str]:
        """The stream that it writes to now: the process's, or the command's own."""
        file = sys.stderr if self.stderr else streams.stdout()
        # During a live display, Rich replaces the stream by a proxy.
        return getattr(file, "rich_proxied_file", file)

    @file.setter
    def file(self, new: IO[str]) -> None:  # noqa: ARG002
        raise AttributeError("a screen always writes to the process's stream")

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control or is_printable(segment.text) else _printable(segment)


def _printable(segment: Segment) -> Segment:
    # Line ends here come from Rich: those in text from outside have been escaped before.
    return Segment(printable_lines(segment.text), segment.style)
