"""A role's context: its federation, account, store, manifest and directory in one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.monitor import Monitor, NoMonitor
from fl_orchestrator.roles.relay import Relay
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.roles.vectors import Origin, VectorCache

if TYPE_CHECKING:
    from fl_orchestrator.chain.sending.send import Sender

_NO_MONITOR: Final = NoMonitor()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContext:
    """The context for reading and checking a federation's models.

    ``home`` is a directory that no other process writes to. ``cache`` is one that the roles of this
    machine have in common for this federation's files. ``checked`` is one for the vectors that a
    role of this process has checked, where others of them, which do the same at the same time,
    need not do it again; without it they are in the ``home``. ``deployed_at`` is the first block of
    the search for the federation's events. Metrics are reported to ``monitor``. With a
    ``retention`` the store keeps what was used, as long as a dispute may need it.
    """

    federation: Federation
    store: ContentStore
    manifest: Manifest
    home: Path
    deployed_at: int = 0
    retention: Retention | None = None
    monitor: Monitor = _NO_MONITOR
    cache: Path | None = None
    checked: Path | None = None

    @property
    def origin(self) -> Origin:
        return Origin(self.federation.chain_id, self.federation.address)

    def round_index(self) -> RoundIndex:
        """A new index of the federation's events."""
        if isinstance(self.federation, PrivateFederation):
            return PrivateRoundIndex(self.federation, self.deployed_at)
        return RoundIndex(self.federation, self.deployed_at)

    def vectors(self) -> VectorCache:
        """The cache of vectors on this disk; creates its directory."""
        return VectorCache(self.checked or self.home / "vectors", self.manifest, self.cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(ReadContext):
    """The context of one account's role. Without a ``relay`` the role sends everything itself.

    ``endpoints`` open the federation at each RPC endpoint by itself, for what two of them must
    show alike in a private federation. With ``prompt``, no request to the store is slow.
    """

    sender: Sender
    relay: Relay | None = None
    endpoints: Sequence[Callable[[], Federation]] = ()
    prompt: bool = False

    @property
    def address(self) -> str:
        return self.sender.address
