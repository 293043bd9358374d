"""A dashboard in this process, of a small federation whose blocks the test makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fl_orchestrator.audit import federation as audit
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.dashboard.index.index import Index
from fl_orchestrator.dashboard.server.app import Service
from fl_orchestrator.dashboard.server.board import Board
from fl_orchestrator.dashboard.server.contents import ContentWatch
from fl_orchestrator.dashboard.server.details import Details
from fl_orchestrator.dashboard.server.follower import Follower
from fl_orchestrator.dashboard.server.measures import LiveMeasures
from fl_orchestrator.dashboard.server.recompute import Recomputations
from support.federation import SmallFederation


@dataclass(frozen=True, slots=True)
class Desk:
    """A service whose follower looks when the test says so."""

    service: Service
    follower: Follower
    contents: ContentWatch
    measures: LiveMeasures

    def look(self) -> dict[str, Any]:
        """Read all that is new; returns the state."""
        while self.follower.look():
            pass
        self.service.board.heard()
        return self.service.state()


@contextlib.contextmanager
def desk_of(
    world: SmallFederation, store: ContentStore | None = None, **options: Any
) -> Iterator[Desk]:
    """A desk; ``options`` are those of `Service`."""
    content = store or world.store
    chain = open_federation(world.chain.web3, world.federation.address)
    path = world.directory / "dashboard.sqlite"
    index = Index(chain, path, world.deployment.block)
    contents, measures = ContentWatch(chain, content), LiveMeasures("the test")
    follower = Follower(chain, index, Board(), contents, [measures])
    asked = Recomputations(
        lambda metered: audit.Federation(
            open_federation(world.chain.web3, world.federation.address), metered(content)
        )
    )
    service = Service(follower.board, Details(path, follower, chain), asked, **options)
    try:
        yield Desk(service, follower, contents, measures)
    finally:
        service.board.close()
        asked.close()
        contents.close()
        index.database.close()
