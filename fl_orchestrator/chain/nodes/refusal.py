"""What a node refuses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fl_orchestrator.errors import ChainError
from fl_orchestrator.transport.http import shown_text


class RequestRefused(ChainError):
    """The node responded with an error, or with something other than what was requested.

    ``error`` is the error, as JSON-RPC has it; empty if it is another one.
    """

    error: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def of(cls, error: Any) -> RequestRefused:
        """From an error of JSON-RPC, or from one of web3."""
        known = error if isinstance(error, Mapping) else {}
        refused = cls(
            f"The node refused a request: {shown_text(str(known.get('message') or error))}.",
            "Run the command again, or use another RPC endpoint.",
        )
        refused.error = known
        return refused
