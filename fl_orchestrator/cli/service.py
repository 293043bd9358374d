"""What the commands share that run until they are stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from fl_orchestrator.cli.console import duration, err
from fl_orchestrator.cli.site import POLL_SECONDS, TimedOut

if TYPE_CHECKING:
    from fl_orchestrator.chain.federation import Federation
    from fl_orchestrator.roles.base import Role


def serve(
    chain: Federation, role: Role, finished: Callable[[], bool], timeout: float
) -> Counter[str]:
    """Give a role a step at every new block, until it rests and is ``finished``; what it did.

    Raises TimedOut when no block has come for ``timeout`` seconds, and whatever the role raises.
    """
    done: Counter[str] = Counter()
    last_block, deadline = -1, time.monotonic() + timeout
    with err.status("Looking at the chain …") as status:
        while True:
            block = chain.web3.eth.block_number
            if block == last_block:
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"The chain mined no block within {duration(timeout)}.",
                        "Run the command again to go on; nothing is lost.",
                    )
                time.sleep(POLL_SECONDS)
                continue
            last_block, deadline = block, time.monotonic() + timeout
            status.update(f"Block {block}")
            while action := role.step().action:
                done[action] += 1
                err.print(f"[dim]{action}[/]")
            if finished():
                return done
