"""Puts a dashboard together, and runs it while somebody looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.dashboard.index.index import Index
from fl_orchestrator.dashboard.server.app import Service, dashboard_app
from fl_orchestrator.dashboard.server.board import Board
from fl_orchestrator.dashboard.server.contents import ContentWatch
from fl_orchestrator.dashboard.server.details import Details
from fl_orchestrator.dashboard.server.follower import Follower
from fl_orchestrator.dashboard.server.guard import is_loopback
from fl_orchestrator.dashboard.server.measures import Measures
from fl_orchestrator.dashboard.server.recompute import Open, Recomputations
from fl_orchestrator.relay.serving import serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a dashboard listens, and by which names it is known.

    Where only this machine can reach it, its names are those of this machine. Elsewhere they are
    ``host_names``, or any if none are given. ``root_path`` is the path at which a proxy has it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    host_names: Sequence[str] = ()
    root_path: str = ""

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches it: no other address, and no proxy before it."""
        return is_loopback(self.host) and not self.host_names and not self.root_path

    @property
    def known_names(self) -> list[str]:
        if self.host_names or is_loopback(self.host):
            return ["localhost", "127.0.0.1", "::1", self.host, *self.host_names]
        return []


@contextlib.contextmanager
def running(
    chain: Federation,
    store: ContentStore | None,
    index: Path,
    address: Address,
    *,
    from_block: int = 0,
    measures: Sequence[Measures] = (),
    recompute: Open | None = None,
) -> Iterator[str]:
    """Run a dashboard and yield its URL. ``recompute`` opens what rounds are recomputed with.

    ``chain`` is used by one thread of the dashboard only. Raises NoIndex and CannotListen.
    """
    with contextlib.ExitStack() as stack:
        made = Index(chain, index, from_block)
        stack.callback(made.database.close)
        board = Board()
        contents = ContentWatch(chain, store)
        stack.callback(contents.close)
        follower = Follower(chain, made, board, contents, measures)
        asked = Recomputations(recompute) if recompute is not None else None
        if asked is not None:
            stack.callback(asked.close)
        service = Service(
            board,
            Details(index, follower, chain),
            asked,
            address.known_names,
            address.root_path,
            candid=address.is_private,
        )
        url = stack.enter_context(serving(dashboard_app(service), address.host, address.port))
        stack.callback(follower.close)
        stack.callback(board.close)
        follower.start()
        yield f"{url}{address.root_path}/"
