"""Where a process listens, in words."""

from __future__ import annotations

from typing import Final

from fl_orchestrator.errors import InputError

_HOST: Final = "127.0.0.1"


class BadListenAddress(InputError):
    """The address to listen on is malformed or in use."""


def parse_listen(text: str) -> tuple[str, int]:
    """``[HOST:]PORT``; without a host, loopback. Raises BadListenAddress."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise BadListenAddress(f"{text!r} is not [HOST:]PORT.", "Example: 127.0.0.1:9108")
    return host.strip("[]") or _HOST, int(port)
