"""Runs a hook on accepted and revoked rounds in the process of a role."""

from __future__ import annotations

from pathlib import Path

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.history import HistoryFollower, HistoryHook
from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.errors import FloError
from fl_orchestrator.roles.base import Step


class HookFailed(FloError):
    """A hook raised an error on a round; it is called again later with the same round."""


class HookWorker:
    """Calls a hook once for each change of the history, one change per step.

    ``cursor`` is a file for this hook only, in the directory of the process. An error of the hook
    becomes HookFailed, after which the process continues: a tracker that is unreachable must not
    prevent a party from revealing. ``from_head``: a new cursor starts at the present head, not at
    round 1.
    """

    def __init__(
        self, federation: Federation, hook: HistoryHook, cursor: Path, *, from_head: bool = False
    ) -> None:
        self._federation = federation
        self._hook = _GuardedHook(hook)
        self._history = HistoryFollower(federation, cursor, from_head=from_head)

    def step(self) -> Step:
        # The last observation of another role in this process is recent enough; it saves a request.
        seen = self._federation.last_seen or self._federation.observe(self._federation.address)
        done = self._history.deliver(self._hook, seen, at_most=1)
        return Step("report round" if done else None)


class _GuardedHook(HistoryHook):
    """Turns all errors of a hook into HookFailed."""

    def __init__(self, hook: HistoryHook) -> None:
        self._hook = hook

    def on_accepted(self, model: ModelView) -> None:
        try:
            self._hook.on_accepted(model)
        except Exception as error:
            raise self._failed(model, error) from error

    def on_revoked(self, model: ModelView) -> None:
        try:
            self._hook.on_revoked(model)
        except Exception as error:
            raise self._failed(model, error) from error

    def _failed(self, model: ModelView, error: Exception) -> HookFailed:
        return HookFailed(
            f"{type(self._hook).__name__} failed on round {model.round}: "
            f"{type(error).__name__}: {error}"
        )
