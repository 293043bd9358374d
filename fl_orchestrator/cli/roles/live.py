"""What a role shows in a terminal instead of its log: the round, its own duty, its last actions."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.following import waiting_for

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.types import Observation

_SHOWN_ACTIONS: Final = 6
_REFRESHES: Final = 2  # a second
_DETAILS: Final = ("action", "round", "party", "gas", "reason")


class LiveView:
    """The view of one role. It reads what the role has seen last, and asks the chain nothing.

    A thread of Rich draws it while the role trains or waits.
    """

    def __init__(self, role: str, chain: Federation) -> None:
        self._role = role
        self._chain = chain
        self._actions: deque[str] = deque(maxlen=_SHOWN_ACTIONS)
        self._block, self._block_at = -1, time.monotonic()

    def took(self, entry: Mapping[str, Any]) -> None:
        """An entry of the log that is shown here and not printed."""
        now = datetime.datetime.now().astimezone()
        details = " ".join(f"{name}={entry[name]}" for name in _DETAILS if name in entry)
        self._actions.append(f"{now:%H:%M:%S}  {entry['event']} {details}")

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        seen = self._chain.last_seen
        lines: list[RenderableType] = [
            Text(f"{self._role} of {self._chain.address} on chain {self._chain.chain_id}", "bold")
        ]
        if seen is None:
            lines.append(Text("Waiting for the chain …", "dim"))
        else:
            lines += [Text(waiting_for(seen)), _phases(seen), Text(duty(self._role, seen))]
            lines.append(Text(self._head(seen), "dim"))
        lines += [Text(text, "dim") for text in self._actions]
        return Group(*lines)

    def _head(self, seen: Observation) -> str:
        if seen.block_number != self._block:
            self._block, self._block_at = seen.block_number, time.monotonic()
        age = round(time.monotonic() - self._block_at)
        model = f"model of round {seen.head.round}" if seen.head.round else "genesis"
        return f"Block {seen.block_number}, seen {age} s ago. Head: {model}."


def _phases(seen: Observation) -> Text:
    """The round's phases in a line, the present one marked, with who has acted."""
    from rich.text import Text

    from fl_orchestrator.chain.types import Phase, PrivateObservation

    current = seen.current
    order = [Phase.COMMIT, Phase.REVEAL, Phase.ATTEST]
    if isinstance(seen, PrivateObservation):
        order.insert(2, Phase.CLAIM)
    counts = {
        Phase.COMMIT: f" {current.commits} committed",
        Phase.REVEAL: f" {current.reveals} revealed",
    }
    line = Text()
    for phase in order:
        now = phase is current.phase
        mark = "●" if now else "·"
        name = f"{mark} {phase.name.lower()}{counts.get(phase, '')}   "
        line.append(name, "bold cyan" if now else "dim")
    return line


def duty(role: str, seen: Observation) -> str:
    """What this account has to do now, in a sentence."""
    from fl_orchestrator.chain.types import Phase

    open_now = seen.current.phase in (Phase.COMMIT, Phase.REVEAL, Phase.CLAIM, Phase.ATTEST)
    if role == "party":
        return _party_duty(seen, open_now)
    if role == "aggregator":
        if seen.aggregator.stake == 0:
            return "This account is not registered as an aggregator."
        if seen.current.phase is Phase.ATTEST:
            return "Duty: compute the model from the revealed updates and sign it."
        return "Duty: none before the updates are revealed; answer demands."
    if role == "watcher":
        return "Duty: compute every accepted model again."
    return "Duty: open rounds and close their phases."


def _party_duty(seen: Observation, open_now: bool) -> str:
    from fl_orchestrator.chain.types import Phase

    if seen.party.stake == 0:
        return "This account is not registered as a party."
    if not open_now:
        return "Duty: none until the next round."
    own = seen.committed.round == seen.current.round
    if own and seen.committed.revealed:
        return "Duty: done in this round; the update is revealed."
    if own:
        when = "now" if seen.current.phase is Phase.REVEAL else "when the commit phase is over"
        return f"Duty: reveal {when}. The update is committed, and stake depends on it."
    if not seen.drawn:
        return "Duty: none; this account is not drawn in this round."
    if seen.current.phase is Phase.COMMIT:
        return "Duty: train, and commit the update."
    return "Duty: none; this account has not committed in this round."


@contextlib.contextmanager
def live(view: LiveView) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show the view on the terminal; yields what takes the entries that are not printed."""
    from rich.live import Live

    with Live(
        console=err,
        get_renderable=view.render,
        refresh_per_second=_REFRESHES,
        transient=True,
    ):
        yield view.took
