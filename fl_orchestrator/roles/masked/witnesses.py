"""Several endpoints that must agree, before a role of a private federation acts on what one shows.

A node that shows one party other seats, or one aggregator another lock, could have its update
opened. Endpoints that stand in for each other do not help against that; two that agree do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import PrivateObservation
from fl_orchestrator.errors import ChainError, FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.masked.rounds import MaskedRounds

_log = get_logger(__name__)

# So many endpoints must show the same.
_ENOUGH: Final = 2
# An endpoint may be some blocks behind. After so many attempts somebody has to look.
_ATTEMPTS: Final = 6


class EndpointsDisagree(ChainError):
    """Fewer than two RPC endpoints show what a role would act on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one endpoint shows now."""

    observation: PrivateObservation
    index: PrivateRoundIndex
    rounds: MaskedRounds


class _Witness:
    """One endpoint, which is opened when it is first asked."""

    def __init__(self, open_: Callable[[], Federation], account: str, deployed_at: int) -> None:
        self._open = open_
        self._account = account
        self._deployed_at = deployed_at
        self._found: tuple[PrivateFederation, PrivateRoundIndex, MaskedRounds] | None = None

    def look(self) -> Seen:
        if self._found is None:
            federation = self._open()
            if not isinstance(federation, PrivateFederation):
                raise EndpointsDisagree("An RPC endpoint shows a federation of another kind.")
            index = PrivateRoundIndex(federation, self._deployed_at)
            self._found = federation, index, MaskedRounds(federation, index)
        federation, index, rounds = self._found
        observation = federation.observe(self._account)
        index.search_to(observation.block_number)
        return Seen(observation, index, rounds)


class Witnesses:
    """All endpoints of a role, each by itself. With a single one, that one is trusted.

    There is none for a role whose chain is in its own process.
    """

    def __init__(
        self, endpoints: Sequence[Callable[[], Federation]], account: str, deployed_at: int
    ) -> None:
        self._witnesses = [_Witness(open_, account, deployed_at) for open_ in endpoints]
        self._agreed: dict[str, object] = {}
        self._said = False
        self._disagreed: Counter[str] = Counter()

    def require(self, what: str, shown: object, ask: Callable[[Seen], object]) -> None:
        """Raise EndpointsDisagree unless two endpoints give the answer ``shown`` to ``ask``.

        ``what`` names it in errors; the last agreement on it is remembered. A disagreement that
        stays is logged as an alert once.
        """
        if len(self._witnesses) < _ENOUGH:
            if self._witnesses and not self._said:
                self._said = True
                _log.warning("trusts its only RPC endpoint; give a second one with --rpc")
            return
        if what in self._agreed and self._agreed[what] == shown:
            return
        agreeing = 0
        for number, witness in enumerate(self._witnesses):
            try:
                agreeing += ask(witness.look()) == shown
            except FloError as error:
                _log.warning("endpoint not heard", number=number, reason=error.message)
            if agreeing >= _ENOUGH:
                self._agreed[what] = shown
                del self._disagreed[what]
                return
        self._disagreed[what] += 1
        if self._disagreed[what] == _ATTEMPTS:
            _log.error("alert: RPC endpoints disagree, so nothing is done", what=what)
        raise EndpointsDisagree(
            f"Only {agreeing} of {len(self._witnesses)} RPC endpoints show {what} as the one in "
            "use does.",
            "One is out of step, or lies. It is asked again; if this stays, use other endpoints.",
        )
