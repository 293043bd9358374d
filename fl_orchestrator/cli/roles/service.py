"""What the commands share that run as a service until they are stopped."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import err, print_json, say
from fl_orchestrator.cli.options.track import TrackOption
from fl_orchestrator.cli.site import (
    LogFormatOption,
    LogLevelOption,
    MetricsOption,
    Site,
    deployed_at,
)

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.service.process import Process

OnceOption = Annotated[bool, typer.Option("--once", help="Do the work that is due now, then stop.")]
BlockTimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout", min=0, metavar="SECONDS", help="With --once: how long to wait for a block."
    ),
]
SAFE_TO_STOP: Final = "Nothing is lost: run the same command again to continue."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSite(Site):
    """The options of a command that runs until it is stopped."""

    metrics: MetricsOption = ""
    log_format: LogFormatOption = "text"
    log_level: LogLevelOption = "info"
    track: TrackOption = ()  # type: ignore[assignment]

    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="End at once, if chain, store or manifest cannot be had at the start."
        ),
    ] = False

    @contextlib.contextmanager
    def running(self, role: str, *, once: bool = False, show: bool = False) -> Iterator[Process]:
        """A process in this role, which alone works with its account meanwhile.

        With ``show`` a person at a terminal sees a live view instead of the log.

        It waits for a chain that does not answer, unless it is ``strict`` or to run ``once``.
        Raises AccountInUse, and whatever opening the federation and the key raises besides.
        """
        from fl_orchestrator.cli.logs import log
        from fl_orchestrator.service.process import Process
        from fl_orchestrator.service.stop import stop_on_signals
        from fl_orchestrator.service.waiting import StoppedWaiting
        from fl_orchestrator.tracking.by_name import openers_of

        track = openers_of(self.track)
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(stop_on_signals())
            log(self.log_level, self.log_format)
            strict = self.strict or once
            try:
                process = Process.open(
                    role, self, stack, stop, strict=strict, listen=self.metrics, track=track
                )
                instead = None
                if show and self._is_watched:
                    from fl_orchestrator.cli.roles.live import LiveView, live

                    instead = stack.enter_context(live(LiveView(role, process.chain)))
                alerted = functools.partial(_alerted, process)
                log(self.log_level, self.log_format, alerted, instead)
                yield process
            except StoppedWaiting:
                raise typer.Exit(0) from None

    @property
    def _is_watched(self) -> bool:
        """Whether a person at a terminal reads the log, and has not asked for another one."""
        return err.is_terminal and (self.log_level, self.log_format) == ("info", "text")

    def deployed_at(self, chain: Federation) -> int:
        return deployed_at(chain, self.deployments)


def _alerted(process: Process, entry: Mapping[str, Any]) -> None:
    process.metrics.alerted()
    process.trackers.logged(entry)


def show_done(done: Counter[str], json_output: bool) -> None:
    """Say what a process did until it was stopped."""
    if json_output:
        print_json({"done": dict(done)})
        return
    actions = ", ".join(f"{action} {count}" for action, count in sorted(done.items()))
    say(f"Stopped. Done: {actions or 'nothing'}.")
