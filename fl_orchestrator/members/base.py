"""What the members of a federation have in common: an account, its process, and its stake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.sending.send import Receipt
from fl_orchestrator.chain.types import Observation, Role
from fl_orchestrator.members.connection import Connection
from fl_orchestrator.service.process import Process
from fl_orchestrator.service.stop import Stop
from fl_orchestrator.tracking.by_name import openers_of
from fl_orchestrator.units import parse_ether


class Member:
    """An account that works in a federation, alone with its key and directory until `close`.

    ``site`` is a `Connection`, or a `Process` that somebody else has opened and closes. Use it in a
    ``with`` block. What is opened from a `Connection` raises what does not answer at once: only
    `run` goes on through outages.
    """

    role: ClassVar[str]

    def __init__(self, site: Connection | Process) -> None:
        self._stack = contextlib.ExitStack()
        if isinstance(site, Process):
            self.process = site
            return
        with self._closing_on_error():
            track = openers_of(site.trackers)
            self.process = Process.open(
                self.role, site, self._stack, Stop(), strict=True, track=track
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the account for other processes."""
        self._stack.close()

    def stop(self) -> None:
        """End `run` after its current step; safe from any thread, and for good."""
        self.process.stop.request()

    @property
    def address(self) -> str:
        return self.process.sender.address

    @property
    def home(self) -> Path:
        """The account's private directory. Keep it until a round ends."""
        return self.process.home

    def observe(self) -> Observation:
        """The state of the round and of this account on the chain. Raises ChainError."""
        return self.process.chain.observe(self.address)

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


class Staked(Member):
    """A member that needs a stake."""

    kind: ClassVar[Role]

    def register(self, stake: str = "", beneficiary: str = "") -> Receipt:
        """Register with a stake in ETH, by default the minimum; it counts from the next round.

        ``beneficiary`` is who is paid stake and rewards, by default this account. Raises
        ChainError, with the contract's reason, and InputError.
        """
        chain, account = self.process.chain, self.address
        found = registration(chain, self.kind, account, stake, beneficiary, self._encryption_key())
        return self.process.sender.send(found.call)

    def _encryption_key(self) -> bytes | None:
        """An aggregator's public key in a private federation."""
        return None


@dataclass(frozen=True, slots=True)
class Registration:
    """A call that registers an account, its stake in wei, and who is paid."""

    call: Call
    stake: int
    beneficiary: str


def registration(
    chain: Federation, role: Role, account: str, stake: str, beneficiary: str, key: bytes | None
) -> Registration:
    """``stake`` is in ETH, the minimum if empty; ``key`` is an aggregator's encryption key.

    Raises ForgedFederation: equal code alone may keep the stakes for its author.
    """
    from fl_orchestrator.chain.deployment.migrate import require_deployed

    require_deployed(chain)
    params = chain.params()
    minimum = params.min_party_stake if role is Role.PARTY else params.min_aggregator_stake
    amount = parse_ether(stake) if stake else minimum
    receiver = beneficiary or account
    if isinstance(chain, PrivateFederation) and key is not None:
        return Registration(chain.register(role, receiver, amount, key), amount, receiver)
    return Registration(chain.register(role, receiver, amount), amount, receiver)
