"""Pages of a browser under test, and dashboards that are served to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from fl_orchestrator.audit import federation as audit
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.dashboard.server.measures import LiveMeasures
from fl_orchestrator.dashboard.server.running import Address, running
from support.federation import SmallFederation


@dataclass(slots=True)
class Watched:
    """A page with what it wrote to the console, and the requests that it sent elsewhere."""

    page: Page
    said: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def watched(page: Page, url: str) -> Watched:
    found = Watched(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(url.partition("#")[0].rstrip("/"))
            else found.elsewhere.append(request.url)
        ),
    )
    return found


@contextlib.contextmanager
def served(world: SmallFederation, **options: Any) -> Iterator[tuple[str, LiveMeasures]]:
    """The URL of a dashboard of a small federation; ``options`` are those of `running`."""

    def opened() -> Any:
        return open_federation(world.chain.web3, world.federation.address)

    measures = LiveMeasures("the test")
    settings: dict[str, Any] = {
        "store": world.store,
        "recompute": lambda metered: audit.Federation(opened(), metered(world.store)),
        **options,
    }
    index: Path = world.directory / "served.sqlite"
    with running(
        opened(),
        settings.pop("store"),
        index,
        Address(),
        from_block=world.deployment.block,
        measures=[measures],
        **settings,
    ) as url:
        yield url, measures
