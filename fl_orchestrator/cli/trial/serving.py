"""The dashboard of a trial: of `flo up`, and of `flo demo --serve`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fl_orchestrator.cli.console import err, safe, say
from fl_orchestrator.errors import ToolchainError, install_hint

if TYPE_CHECKING:
    from rich.console import Console

    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.dashboard.server.measures import Measures

_A_YEAR: Final = 31_536_000


@contextlib.contextmanager
def serving_trial(
    opened: Callable[[], Federation],
    store: Callable[[], ContentStore],
    listen: str,
    measures: Callable[[Federation], Measures],
    index: Path | None = None,
) -> Iterator[str]:
    """Serve the dashboard of a federation of this machine, and yield its URL.

    ``opened`` opens a federation for one thread. Without an ``index`` there is a new one. Raises
    ToolchainError without the packages that it needs.
    """
    try:
        from fl_orchestrator.dashboard.server.running import Address, running
    except ModuleNotFoundError as error:
        raise ToolchainError(
            f"A dashboard needs the Python package {error.name}, which is not installed.",
            install_hint("dashboard"),
        ) from error
    from fl_orchestrator.audit import federation as audit
    from fl_orchestrator.service.listen import parse_listen

    host, port = parse_listen(listen)
    address = Address(host=host, port=port)

    def recomputing(metered: Callable[[ContentStore], ContentStore]) -> audit.Federation:
        return audit.Federation(opened(), metered(store()))

    with contextlib.ExitStack() as stack:
        if index is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="flo-dashboard-"))
            index = Path(directory) / "index.sqlite"
        chain = opened()
        allowed = recomputing if address.is_private else None
        yield stack.enter_context(
            running(chain, store(), index, address, measures=[measures(chain)], recompute=allowed)
        )


@contextlib.contextmanager
def serving_demo(
    chain: Federation, store: ContentStore, directory: Path, console: Console, wanted: bool
) -> Iterator[None]:
    """If it is wanted, serve the dashboard of a run in this process, from its start to Ctrl-C.

    ``chain`` is of a chain that several threads may use.
    """
    if not wanted:
        yield
        return
    from fl_orchestrator.chain.contract.private import open_federation
    from fl_orchestrator.dashboard.server.recorded import RunMeasures
    from fl_orchestrator.service.stop import stop_on_signals

    with serving_trial(
        lambda: open_federation(chain.node, chain.address),
        lambda: store,
        "0",
        lambda _chain: RunMeasures(directory, chain.address),
    ) as url:
        say(f"Dashboard: {url}", console)
        yield
        say(f"The dashboard stays at {url} until Ctrl-C.", console)
        with stop_on_signals() as stop:
            stop.sleep(float(_A_YEAR))


def _ignore(*_: object, **_more: object) -> None:
    """What nobody shows."""


@contextlib.contextmanager
def serving_up(
    directory: Path, rpc: str, address: str, store: ContentStore, listen: str
) -> Iterator[Callable[..., None]]:
    """Serve the dashboard of `flo up`, and yield what takes the measures of each round for it.

    The federation runs also without the packages that a dashboard needs.
    """
    from fl_orchestrator.chain.contract.private import open_federation
    from fl_orchestrator.chain.nodes.connect import reach

    with contextlib.ExitStack() as stack:
        measured: Callable[..., None] = _ignore
        if listen != "none":
            try:
                from fl_orchestrator.dashboard.server.measures import LiveMeasures

                live = LiveMeasures("flo up, on test rows that no party has")
                served = serving_trial(
                    lambda: open_federation(reach(rpc), address),
                    lambda: store,
                    listen,
                    lambda _chain: live,
                    directory / "dashboard.sqlite",
                )
                err.print(f"Dashboard: {stack.enter_context(served)}", soft_wrap=True)
                measured = live.add
            except ToolchainError as error:
                err.print(safe(error), soft_wrap=True)
        yield measured
