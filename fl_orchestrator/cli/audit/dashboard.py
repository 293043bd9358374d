"""`flo dashboard`: a federation live in a browser, from a chain and a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import print_line
from fl_orchestrator.cli.site import (
    HOME_DEFAULT,
    HomeOption,
    Reader,
    deployed_at,
    expanded,
    named,
    with_options,
)
from fl_orchestrator.errors import InputError, ToolchainError, install_hint

if TYPE_CHECKING:
    from fl_orchestrator.audit.federation import Federation
    from fl_orchestrator.chain.contract import federation as contract
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.dashboard.server.measures import Measures

_LISTEN_DEFAULT = "127.0.0.1:8600"


@with_options
def dashboard(
    site: Reader,
    listen: Annotated[
        str,
        typer.Option(
            help="Where to listen; without a host, only for this machine.", metavar="[HOST:]PORT"
        ),
    ] = _LISTEN_DEFAULT,
    index: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The index; it is made anew where it cannot be used. "
            "Default: one for each federation, below --home.",
        ),
    ] = None,
    measures: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Show the accuracies of a run (the --out directory of "
            "`flo demo`) or of a party (its own directory below its --home). Repeatable.",
        ),
    ] = None,
    recompute: Annotated[
        bool | None,
        typer.Option(
            "--recompute/--no-recompute",
            help="Let whoever looks have rounds computed "
            "again, one at a time. Default: only where nobody else can look.",
        ),
    ] = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which browsers know this dashboard, such as "
            "that of a proxy before it. Repeatable.",
        ),
    ] = None,
    root_path: Annotated[
        str, typer.Option(metavar="/PATH", help="The path at which a proxy serves it.")
    ] = "",
    home: HomeOption = HOME_DEFAULT,
) -> None:
    """Show a federation live in a browser. It only reads, and needs no key.

    The page has the round, its phases and whom it waits for, curves, accounts, disputes, and a page
    for each round and each account. Without --store it shows what the chain has, and recomputes
    nothing. Ctrl-C ends it; started again, it goes on with the index that it has.

    Example: flo dashboard --store file:///srv/flo --listen 127.0.0.1:8600
    """
    try:
        from fl_orchestrator.dashboard.server.running import Address, running
    except ModuleNotFoundError as error:
        raise ToolchainError(
            f"A dashboard needs the Python package {error.name}, which is not installed.",
            install_hint("dashboard"),
        ) from error
    from fl_orchestrator.service.listen import parse_listen
    from fl_orchestrator.service.stop import stop_on_signals

    if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
        raise InputError(
            f"{root_path!r} is not a path.", "Write it as /flo, without a slash behind."
        )
    host, port = parse_listen(listen)
    address = Address(host=host, port=port, host_names=host_name or (), root_path=root_path)
    chain = site.open_federation()
    store = site.open_store() if site.store else None
    allowed = address.is_private if recompute is None else recompute
    if recompute:
        named("store", site.store)
    with (
        stop_on_signals() as stop,
        running(
            chain,
            store,
            expanded(index or home / f"{chain.chain_id}-{chain.address.lower()}" / "index.sqlite"),
            address,
            from_block=deployed_at(chain, site.deployments),
            measures=_recorded(measures or [], chain.address),
            recompute=_opener(site, chain) if allowed and store is not None else None,
        ) as url,
    ):
        print_line(f"The dashboard of {chain.address} is at {url} (Ctrl-C ends it).")
        while not stop.requested:
            stop.sleep(3600.0)


def _recorded(directories: Sequence[Path], federation: str) -> list[Measures]:
    if not directories:
        return []
    from fl_orchestrator.dashboard.server.recorded import measures_in

    return [measures_in(expanded(directory), federation) for directory in directories]


def _opener(
    site: Reader, chain: contract.Federation
) -> Callable[[Callable[[ContentStore], ContentStore]], Federation]:
    """What opens the federation a second time, for the thread that recomputes."""

    def opened(metered: Callable[[ContentStore], ContentStore]) -> Federation:
        from fl_orchestrator.audit.federation import Federation
        from fl_orchestrator.chain.contract.private import open_federation

        own = open_federation(site.connect(), chain.address)
        store = metered(site.open_store())
        return Federation(own, store, deployed_at(own, site.deployments))

    return opened
