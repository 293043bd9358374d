"""The way of signed messages to a keeper, which sends them in batches and pays the gas."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from fl_orchestrator.chain.types import Signature, SignedCommit, Update
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.digests import Result

# A round's messages are at most one of each kind for each of 100 updates, and some results for each
# of 64 seats.
_MAX_WAITING: Final = 4096
_KEPT_ROUNDS: Final = 2

#: The most results of a round that an aggregator computes and signs, so that an aggregator that
#: proposes many sets of updates cannot make the others compute all of them.
MAX_RESULTS: Final = 16
#: The fraction of the rest of a phase that a relay has to get a party's message on the chain.
RELAY_SHARE: Final = 0.5


class RelayFailed(ChainError):
    """A relay did not accept a message: it does not answer, or refuses with a reason."""


class Relay(Protocol):
    """Accepts messages for the chain. It may lose them, so the author must observe the chain.

    Every call is idempotent, and raises RelayFailed.
    """

    def post_commit(self, round_number: int, commit: SignedCommit) -> None: ...

    def put_update(self, round_number: int, update: Update, file: Path, seconds: float) -> None:
        """Make an update's bytes available; only after the commit phase has closed.

        ``seconds`` is the timeout of the upload.
        """
        ...

    def post_reveal(self, round_number: int, update: Update) -> None: ...

    def post_attestation(self, result: Result, signature: Signature) -> None: ...


@dataclass(frozen=True, slots=True)
class SignedResult:
    """An aggregator's signature, for a keeper to send."""

    result: Result
    signature: Signature


_M = TypeVar("_M")


@singledispatch
def name_of(message: object) -> str:
    """A message's name within its round: it replaces an earlier message of the same name."""
    raise TypeError(f"{type(message).__name__} is no message")


@name_of.register(SignedCommit)
def _(commit: SignedCommit) -> str:
    return f"commit {commit.party.lower()}"


@name_of.register(Update)
def _(update: Update) -> str:
    return f"reveal {update.party.lower()}"


@name_of.register(SignedResult)
def _(signed: SignedResult) -> str:
    return f"attestation {(signed.signature.r + signed.signature.vs).hex()}"


class Mailbox:
    """A relay within one process: a keeper reads the messages that other roles posted, and removes
    them.

    Messages are kept by round, for the current round and a few next ones only. Each round has its
    own limit, so that messages of one round cannot displace those of another. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rounds: dict[int, dict[str, Any]] = {}
        self._first = 0

    # ------------------------------------------------------------------ a relay

    def post(self, round_number: int, message: object) -> None:
        """Keep a message of any kind."""
        self._put(round_number, name_of(message), message)

    def post_commit(self, round_number: int, commit: SignedCommit) -> None:
        self.post(round_number, commit)

    def put_update(self, round_number: int, update: Update, file: Path, seconds: float) -> None:
        """Do nothing, because the roles of one process share a store."""

    def post_reveal(self, round_number: int, update: Update) -> None:
        self.post(round_number, update)

    def post_attestation(self, result: Result, signature: Signature) -> None:
        self.post(result.round, SignedResult(result, signature))

    # ------------------------------------------------------------------ a keeper's side

    def waiting(self, round_number: int, kind: type[_M]) -> list[_M]:
        """The messages of a round and of one kind, in the order in which they came."""
        with self._lock:
            messages = self._rounds.get(round_number, {}).values()
            return [message for message in messages if isinstance(message, kind)]

    def remove(self, round_number: int, messages: Iterable[object]) -> None:
        """Forget messages, unless they were replaced meanwhile."""
        with self._lock:
            gone = list(messages)
            waiting = self._rounds.get(round_number, {})
            for name in [name for name, message in waiting.items() if message in gone]:
                self._discard(round_number, name)

    def forget_before(self, round_number: int) -> None:
        """Remove messages of earlier rounds, and ignore those that arrive later."""
        with self._lock:
            self._first = round_number
            for old in [number for number in self._rounds if number < self._first]:
                self._forget(old)

    # ------------------------------------------------------------------ what is kept

    def _put(self, round_number: int, name: str, message: object) -> None:
        with self._lock:
            if round_number < self._first:
                return
            waiting = self._rounds.setdefault(round_number, {})
            if len(self._rounds) > _KEPT_ROUNDS:
                last = max(self._rounds)
                self._forget(last)
                if last == round_number:
                    return
            if len(waiting) >= _MAX_WAITING and name not in waiting:
                raise RelayFailed(f"Too many messages of round {round_number} are waiting.")
            self._keep(round_number, name, message)

    def _keep(self, round_number: int, name: str, message: Any) -> None:
        self._rounds.setdefault(round_number, {})[name] = message

    def _discard(self, round_number: int, name: str) -> None:
        del self._rounds[round_number][name]

    def _forget(self, round_number: int) -> None:
        del self._rounds[round_number]
