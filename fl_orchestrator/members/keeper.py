"""A keeper as an object: opens rounds and brings them to their end."""

from __future__ import annotations

import time
from collections import Counter
from typing import ClassVar

from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import ENDED
from fl_orchestrator.members.base import Member
from fl_orchestrator.members.connection import Connection
from fl_orchestrator.roles.keeper.keeper import Keeper as Worker
from fl_orchestrator.roles.keeper.private import PrivateKeeper
from fl_orchestrator.roles.relay import Mailbox
from fl_orchestrator.service.process import Process


class Keeper(Member):
    """A keeper of a federation, as `flo keeper run` has it. Anyone can be one; it needs no stake.

    Args:
        site: Where its federation, key and files are. It needs no store.
        mailbox: The relay's messages, which it sends; default: none.
    """

    role: ClassVar[str] = "keeper"

    def __init__(self, site: Connection | Process, *, mailbox: Mailbox | None = None) -> None:
        super().__init__(site)
        self._mailbox = mailbox or Mailbox()

    def run(self, rounds: int | None = None, *, settle: bool = False) -> Counter[str]:
        """Open the next rounds, bring them to their end, and distribute their rewards.

        Until `stop`, or for so many rounds, with ``settle`` until they are final and their rewards
        credited. Returns how often each action was done. Outages are waited out.
        """
        process = self.process
        current = process.observe().current
        begun = 0 if current.phase in ENDED else 1
        last = None if rounds is None else current.round + rounds - begun
        kind = PrivateKeeper if isinstance(process.chain, PrivateFederation) else Worker
        worker = kind(
            process.chain,
            process.sender,
            self._mailbox,
            process.deployed_at,
            lambda round_number: last is None or round_number <= last,
            process.metrics,
            time.monotonic,
        )

        def finished() -> bool:
            seen = process.chain.last_seen
            if last is None or seen is None or seen.current.round < last:
                return False
            return seen.current.phase in ENDED and (not settle or worker.has_settled(seen))

        return process.serve(worker, finished=finished)
