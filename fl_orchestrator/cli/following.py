"""Follows a round until a command has done its part, and shows the round's state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fl_orchestrator.cli.console import duration, err
from fl_orchestrator.errors import ChainError

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.types import Observation
    from fl_orchestrator.roles.base import Worker

_POLL_SECONDS: Final = 0.5


class TimedOut(ChainError):
    """The event that the command waits for did not happen before the timeout."""


def follow(
    chain: Federation,
    account: str,
    role: Worker,
    done: Callable[[Observation], bool],
    timeout: float,
) -> tuple[Observation, bool]:
    """Give an account's role a step at every new block until ``done``.

    Returns the last observation, and whether the role has sent anything.

    Raises TimedOut when the round has not changed for ``timeout`` seconds, and whatever the role
    raises.
    """
    deadline = time.monotonic() + timeout
    first_block, last_block, acted, last = None, -1, False, None
    with err.status("Looking at the chain …") as status:
        while not done(seen := chain.observe(account)):
            first_block = first_block or seen.block_number
            # A role that acted in this phase may have to act in the next: wait for the phase's end.
            owes = acted and phase_ends_in(seen) is not None
            if time.monotonic() > deadline and not owes:
                raise _timed_out(seen, timeout, moved=seen.block_number != first_block)
            if seen.block_number == last_block:
                time.sleep(_POLL_SECONDS)
                continue
            last_block = seen.block_number
            status.update(waiting_for(seen))
            moment = (seen.current.round, seen.current.phase)
            if moment != last and not err.is_terminal:
                err.print(waiting_for(seen))
            if moment != last:
                deadline = time.monotonic() + timeout
            last = moment
            step = role.step()
            if step.action:
                err.print(f"[dim]{step.action}[/]")
                last_block, acted = -1, True
    return seen, acted


def waiting_for(seen: Observation) -> str:
    """The state of the round, and the event that an idle role waits for."""
    from fl_orchestrator.chain.types import Phase

    phase, number = seen.current.phase, seen.current.round
    if phase is Phase.SEEDING:
        return f"Round {number} is being opened."
    ends_in = phase_ends_in(seen)
    if ends_in is None:
        ended = f"Round {number} is {phase.name.lower()}. " if number else ""
        return f"{ended}The next round is not open yet; any keeper can open it."
    return f"Round {number}: the {phase.name.lower()} phase ends in {duration(ends_in)} at most."


def phase_ends_in(seen: Observation) -> int | None:
    """Seconds until the current phase's deadline; None if the phase has none."""
    end = seen.phase_end
    return None if end is None else max(0, end - seen.timestamp)


def head_json(seen: Observation) -> dict[str, object]:
    """The head, with the keys that every command's JSON uses."""
    return {
        "head_round": seen.head.round,
        "head_root": "0x" + seen.head.root.hex(),
        "head_cid": str(seen.head.cid),
    }


def _timed_out(seen: Observation, timeout: float, *, moved: bool) -> TimedOut:
    return TimedOut(
        f"The round did not change within {duration(timeout)}. {waiting_for(seen)}",
        "Run the command again to go on; nothing is lost."
        if moved
        else "The chain mined no block: start a development chain with `anvil --block-time 1`, "
        "then run the command again.",
    )
