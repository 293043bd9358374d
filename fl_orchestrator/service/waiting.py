"""Waits at the start of a process for what it cannot work without, as after a power cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from web3.exceptions import Web3Exception

from fl_orchestrator.chain.contract.federation import NoContractYet, NoFederation
from fl_orchestrator.chain.nodes.connect import WrongChain
from fl_orchestrator.errors import ChainError, ContentError, FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.manifest import ManifestError
from fl_orchestrator.service.stop import Stop

_log = get_logger(__name__)

# Requests' errors are OSErrors. A manifest that is malformed stays so: its hash is on the chain.
_PASSING: Final = (ChainError, ContentError, OSError, Web3Exception)
_LASTING: Final = (WrongChain, NoFederation, ManifestError)

_FIRST_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 15.0
_T = TypeVar("_T")


class StoppedWaiting(Exception):
    """The process was asked to stop before it had what it waited for."""


class Waiting:
    """Waits until the ``stop``; when it is ``strict``, for nothing.

    ``on_wait`` is called with what it waits for now, and with None when it waits no more.
    """

    def __init__(
        self,
        stop: Stop,
        strict: bool = False,
        on_wait: Callable[[str | None], None] = lambda _what: None,
    ) -> None:
        self._stop = stop
        self._strict = strict
        self.on_wait = on_wait

    def until_had(self, what: str, get: Callable[[], _T]) -> _T:
        """What ``get`` returns, asked again through every outage; ``what`` is its name in the log.

        Raises what cannot pass by itself, all that ``get`` raises when this is strict, and
        StoppedWaiting.
        """
        told, delay = None, _FIRST_SECONDS
        while not self._stop.requested:
            try:
                found = get()
            except _PASSING as error:
                lasting = isinstance(error, _LASTING) and not isinstance(error, NoContractYet)
                if self._strict or lasting:
                    raise
                reason = error.for_log if isinstance(error, FloError) else str(error)
                if reason != told:
                    _log.warning(f"waiting for {what}", error=type(error).__name__, reason=reason)
                told = reason
                self.on_wait(what)
                self._stop.sleep(delay)
                delay = min(2 * delay, _LONGEST_SECONDS)
            else:
                if told is not None:
                    _log.info(f"has {what} now")
                    self.on_wait(None)
                return found
        raise StoppedWaiting
