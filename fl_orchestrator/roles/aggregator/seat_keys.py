"""The encryption keys of a seat over time: made, registered, renewed and erased (section 12.6)."""

from __future__ import annotations

from typing import Final, cast

from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.sending.budget import BudgetExceeded
from fl_orchestrator.chain.sending.fees import FeeTooHigh
from fl_orchestrator.chain.sending.send import InsufficientFunds
from fl_orchestrator.chain.types import PrivateObservation
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.context import Context

_log = get_logger(__name__)

#: After so many rounds a seat makes a new key, unless it is told otherwise.
RENEWAL_ROUNDS: Final = 50
# A reorganisation may make the last round current again, and no older one.
_CHANGED_ROUNDS: Final = 2


class SeatKeys:
    """Keeps the newest key of a vault registered on the chain.

    After ``renewal`` rounds it makes another one. A key is erased when the rounds that it served,
    and the one after them, are over. A vault without a key is one that was lost: its new key serves
    later rounds only. So does that of an older copy, which knows nothing of the seat's last claim.
    Two processes of one seat, each with a vault, replace each other's key: each says so.
    """

    def __init__(self, context: Context, vault: Vault, renewal: int) -> None:
        self._federation = cast(PrivateFederation, context.federation)
        self._sender = context.sender
        self._vault = vault
        self._renewal = renewal
        self._erased_in = 0
        self._failed_in = -1
        # The registered key that is not in the vault, when that was said.
        self._foreign: bytes | None = None

    def keep(self, seen: PrivateObservation, index: PrivateRoundIndex) -> str | None:
        """Make, register or erase what is due; the name of what was sent, if anything."""
        if not seen.aggregator.stake:
            return None
        number, newest = seen.current.round, self._vault.newest
        registered = index.registered_key(self._sender.address)
        older = index.last_claim(self._sender.address) > self._vault.last_claim
        if newest is None or older:
            what = "no record" if newest is None else "an older copy of the record"
            _log.error(
                f"alert: {what} of this seat; takes no part until a later round has its new key",
                aggregator=self._sender.address,
            )
            self._vault.serve_after(number)
            newest, self._foreign = None, registered
        if newest is None or number >= self._vault.made_after + self._renewal:
            newest = self._vault.make_key(number)
        if registered is None:
            return None
        if registered == newest:
            self._foreign = None
            self._erase(number, registered, index)
            return None
        self._warn_of_another(registered)
        return self._register(number, newest)

    def _warn_of_another(self, registered: bytes) -> None:
        """Say that another process, with a vault of its own, registered a key for this seat."""
        if registered in self._vault or registered == self._foreign:
            return
        self._foreign = registered
        _log.error(
            "alert: the registered key of this seat is not in this record; registers its own. Stop "
            "the other process of this account, if there is one",
            aggregator=self._sender.address,
            registered=registered.hex(),
        )

    def _register(self, number: int, key: bytes) -> str | None:
        """Register a key. Without coin the older one stays in use, and the round goes on."""
        try:
            self._sender.send(self._federation.set_key(key))
        except (InsufficientFunds, BudgetExceeded, FeeTooHigh) as error:
            if self._failed_in != number:
                _log.error("alert: cannot register its new key", reason=error.message)
            self._failed_in = number
            return None
        _log.info("registered a new encryption key", aggregator=self._sender.address)
        return "key"

    def _erase(self, number: int, registered: bytes, index: PrivateRoundIndex) -> None:
        if self._erased_in == number:
            return
        needed = {registered}
        for recent in range(max(1, number + 1 - _CHANGED_ROUNDS), number + 1):
            try:
                rows = index.seat_table(recent)
            except MissingEvents:
                return
            needed |= {row.key for row in rows if row.account == self._sender.address}
        if erased := self._vault.erase_keys(needed):
            _log.info("erased old encryption keys", number=erased)
        self._erased_in = number
