"""How signed messages reach a keeper, who puts them on the chain in batches and pays the gas."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from fl_orchestrator.chain.types import Signature, SignedCommit, Update
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.digests import Result

# A round's messages are at most one of each kind for each of 100 updates, and some results for each
# of 64 seats.
_MAX_WAITING: Final = 4096
_KEPT_ROUNDS: Final = 2

#: An aggregator computes no more results of a round, and signs each once: whoever proposes one set
#: of updates after the other does not make others compute them all.
MAX_RESULTS: Final = 16
#: A relay has this share of what is left of a phase to get a party's message included.
RELAY_SHARE: Final = 0.5


class RelayFailed(ChainError):
    """A relay did not take a message: it does not answer, or says why."""


class Relay(Protocol):
    """Takes messages for the chain. It may lose them: whoever posts one watches the chain.

    Every call is safe to repeat, and raises RelayFailed.
    """

    def post_commit(self, round_number: int, commit: SignedCommit) -> None: ...

    def put_update(self, round_number: int, update: Update, file: Path, seconds: float) -> None:
        """Make an update's bytes available; only after the commit phase has closed.

        ``seconds``: how long it may take.
        """
        ...

    def post_reveal(self, round_number: int, update: Update) -> None: ...

    def post_attestation(self, result: Result, signature: Signature) -> None: ...


@dataclass(frozen=True, slots=True)
class SignedResult:
    """An aggregator's signature, for a keeper to carry."""

    result: Result
    signature: Signature


Message = SignedCommit | Update | SignedResult
_M = TypeVar("_M", SignedCommit, Update, SignedResult)


def name_of(message: Message) -> str:
    """What a message replaces within its round: an earlier one of this name."""
    if isinstance(message, SignedCommit):
        return f"commit {message.party.lower()}"
    if isinstance(message, Update):
        return f"reveal {message.party.lower()}"
    return f"attestation {(message.signature.r + message.signature.vs).hex()}"


class Mailbox:
    """A relay within one process: a keeper reads what the other roles posted, and removes it.

    What waits is kept by round, and of the rounds that are not over only the next two: no number of
    messages, of whatever round, displaces those of another. Threads may share it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rounds: dict[int, dict[str, Message]] = {}
        self._first = 0

    # ------------------------------------------------------------------ a relay

    def post_commit(self, round_number: int, commit: SignedCommit) -> None:
        self._put(round_number, commit)

    def put_update(self, round_number: int, update: Update, file: Path, seconds: float) -> None:
        """Nothing: the roles of one process share a store."""

    def post_reveal(self, round_number: int, update: Update) -> None:
        self._put(round_number, update)

    def post_attestation(self, result: Result, signature: Signature) -> None:
        self._put(result.round, SignedResult(result, signature))

    # ------------------------------------------------------------------ a keeper's side

    def waiting(self, round_number: int, kind: type[_M]) -> list[_M]:
        """The messages of a round and of one kind, in the order in which they came."""
        with self._lock:
            messages = self._rounds.get(round_number, {}).values()
            return [message for message in messages if isinstance(message, kind)]

    def remove(self, round_number: int, messages: Iterable[Message]) -> None:
        """Forget messages, unless they were replaced meanwhile."""
        with self._lock:
            waiting = self._rounds.get(round_number, {})
            for message in messages:
                if waiting.get(name_of(message)) == message:
                    self._discard(round_number, name_of(message))

    def forget_before(self, round_number: int) -> None:
        """Forget what belongs to earlier rounds, now and when it comes."""
        with self._lock:
            self._first = round_number
            for old in [number for number in self._rounds if number < self._first]:
                self._forget(old)

    # ------------------------------------------------------------------ what is kept

    def _put(self, round_number: int, message: Message) -> None:
        with self._lock:
            if round_number < self._first:
                return
            waiting = self._rounds.setdefault(round_number, {})
            name = name_of(message)
            if len(self._rounds) > _KEPT_ROUNDS:
                last = max(self._rounds)
                self._forget(last)
                if last == round_number:
                    return
            if len(waiting) >= _MAX_WAITING and name not in waiting:
                raise RelayFailed(f"Too many messages of round {round_number} are waiting.")
            self._keep(round_number, name, message)

    def _keep(self, round_number: int, name: str, message: Message) -> None:
        self._rounds.setdefault(round_number, {})[name] = message

    def _discard(self, round_number: int, name: str) -> None:
        del self._rounds[round_number][name]

    def _forget(self, round_number: int) -> None:
        del self._rounds[round_number]
