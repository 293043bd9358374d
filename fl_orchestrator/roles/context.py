"""What a role works with: its federation, account, store, model and directory, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.monitor import Monitor, NoMonitor
from fl_orchestrator.roles.relay import Relay
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.roles.vectors import Origin, VectorCache

_NO_MONITOR: Final = NoMonitor()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContext:
    """What it takes to read a federation's models and to check them.

    ``home`` is a directory that nobody else writes to. ``deployed_at`` is the block from which the
    federation's events are searched. Figures go to the ``monitor``. With a ``retention`` the store
    keeps what was used, for as long as a dispute may need it.
    """

    federation: Federation
    store: ContentStore
    manifest: Manifest
    home: Path
    deployed_at: int = 0
    retention: Retention | None = None
    monitor: Monitor = _NO_MONITOR

    @property
    def origin(self) -> Origin:
        return Origin(self.federation.chain_id, self.federation.address)

    def round_index(self) -> RoundIndex:
        """A new index of the federation's events."""
        return RoundIndex(self.federation, self.deployed_at)

    def vectors(self) -> VectorCache:
        """The vectors on this disk; makes their directory."""
        return VectorCache(self.home / "vectors", self.manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(ReadContext):
    """What a role of one account works with. Without a ``relay`` it sends everything itself."""

    sender: Sender
    relay: Relay | None = None

    @property
    def address(self) -> str:
        return self.sender.address
