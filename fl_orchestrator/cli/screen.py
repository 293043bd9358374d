"""A Rich console whose text cannot act on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fl_orchestrator.cli import streams
from fl_orchestrator.printable import is_printable, printable_lines

# Piped output has no width of its own: tables must not cut addresses.
_PIPED_WIDTH: Final = 160


class Screen(Console):
    """stdout or stderr. Only Rich's own control codes reach it, none that stand in a text."""

    def __init__(self, stderr: bool) -> None:
        piped = not (stderr or streams.stdout().isatty())
        super().__init__(stderr=stderr, highlight=False, width=_PIPED_WIDTH if piped else None)

    @property
    def file(self) -> IO[str]:
        """Where it writes to: at each moment, the process's or the command's own stream."""
        file = sys.stderr if self.stderr else streams.stdout()
        # While something moves on the terminal, Rich stands in front of the stream.
        return getattr(file, "rich_proxied_file", file)

    @file.setter
    def file(self, new: IO[str]) -> None:  # noqa: ARG002
        raise AttributeError("a screen's stream is the process's")

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control or is_printable(segment.text) else _printable(segment)


def _printable(segment: Segment) -> Segment:
    # Line ends are Rich's own by now: what comes from outside has had its own escaped.
    return Segment(printable_lines(segment.text), segment.style)
