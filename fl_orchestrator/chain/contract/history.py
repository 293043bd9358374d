"""Follows a federation's history: each accepted and each revoked model is reported once, in order.

It compares the history on-chain with what it has reported, by view calls only: it needs no events
and no archive node. A small file, the cursor, keeps its position across restarts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.cursor import Change, Cursor, load_cursor, save_cursor
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

# The number of new heights that are read before the first of them is reported.
_BATCH: Final = 256
# Models this far below the final height are forgotten: only a reorg could still revoke them, and a
# reorg of so many rounds is unlikely.
_KEPT_FINAL: Final = 64
# The most models in a cursor. It limits the file's size, even if nobody calls `finalize`.
_KEPT: Final = 8192
# Nodes behind a load balancer are not always at the same block. An observation that is up to this
# many blocks older than the last one comes from a delayed node, and proves no revocation.
_DELAY_BLOCKS: Final = 16


class HistorySource(Protocol):
    """What the follower needs of a federation; `Federation` implements it."""

    @property
    def chain_id(self) -> int: ...

    @property
    def address(self) -> str: ...

    def observe(self, account: str) -> Observation: ...

    def model(self, height: int) -> ModelView: ...


class HistoryHook:
    """Called for the changes of a history; override the methods that you need.

    Each method is called once for each change of the history, in the order of the changes. If it
    raises an error, the follower raises the same error, and the next `deliver` calls it again with
    the same model. If the process is killed during a call or immediately after it, the restarted
    process repeats that call with the same height, round and root; so make it idempotent. If the
    model was revoked meanwhile, the call for its revocation comes next.
    """

    def on_accepted(self, model: ModelView) -> None:
        """A model was accepted: it follows the one that was reported before it."""

    def on_revoked(self, model: ModelView) -> None:
        """The accepted model that was reported last is no longer in the history.

        It was proven wrong, or it is based on a model that was, or a reorg has replaced it.
        """


class HistoryFollower:
    """Reports the changes of one federation's history to a hook; every hook has its own follower.

    ``cursor`` is the file that keeps its position; without one, every process starts anew. A new
    follower reports the whole history from height 1 on, or with ``from_head`` starts at the current
    head, which may be genesis. If the cursor is damaged or of another federation, the follower logs
    an alert and replaces it by a new one.

    A model that was accepted and revoked between two observations is not reported: only events
    have it. After a reorg that goes back more than 64 rounds below the final height, the follower
    reports the revocations that it remembers, and logs an alert about the rest.
    """

    def __init__(
        self, federation: HistorySource, cursor: Path | None = None, *, from_head: bool = False
    ) -> None:
        self._federation = federation
        self._path = cursor
        new = Cursor(federation.chain_id, federation.address, None if from_head else 1)
        self._cursor = new if cursor is None else load_cursor(cursor, new)

    @property
    def head(self) -> ModelView | None:
        """The last model that was reported and not revoked since; None if none is remembered."""
        models = self._cursor.models
        return models[-1] if models else None

    def deliver(
        self, hook: HistoryHook, seen: Observation | None = None, at_most: int | None = None
    ) -> int:
        """Report the changes up to an observation, and return their number.

        ``seen`` is what a role has observed, or None to observe now. ``at_most`` limits the number
        of reports. Without changes, it sends no request. Raises the errors of the hook, of the node
        and of the file system.
        """
        seen = seen or self._federation.observe(self._federation.address)
        done = 0
        try:
            while (at_most is None or done < at_most) and (changes := self._changes(seen)):
                for change in changes[: None if at_most is None else at_most - done]:
                    self._report(hook, change, seen)
                    done += 1
        finally:
            if done:
                self._save()
        return done

    def _report(self, hook: HistoryHook, change: Change, seen: Observation) -> None:
        self._offer(change)
        if change.accepted:
            hook.on_accepted(change.model)
        else:
            hook.on_revoked(change.model)
        self._conclude(change, seen)

    # ------------------------------------------------------------------ what is new

    def _changes(self, seen: Observation) -> list[Change]:
        """The changes to report next, in order; a report that was interrupted comes first."""
        cursor, head = self._cursor, seen.head
        if cursor.offered is not None:
            return [cursor.offered]
        if head == self.head or 0 < cursor.block_number - seen.block_number <= _DELAY_BLOCKS:
            return []
        if not cursor.models and cursor.begin is not None and head.height < cursor.begin:
            cursor.begin = head.height + 1
            return []
        try:
            return self._compare(head)
        except ContractReverted as error:
            if error.error is not ContractError.BeyondHead:
                raise
            return []  # The history became shorter in between: the next observation shows it.

    def _compare(self, head: ModelView) -> list[Change]:
        models = self._cursor.models
        kept = len(models)
        while kept and not self._is_canonical(models[kept - 1], head):
            kept -= 1
        first = self._next_height(kept, head)
        last = min(head.height, first + _BATCH - 1)
        accepted = [
            head if height == head.height else self._federation.model(height)
            for height in range(first, last + 1)
        ]
        # Check for a reorg in between: a model's root depends on all models below it, so if the
        # last one is still the same, all were read from the same history.
        top = accepted[-1] if accepted else head
        if self._federation.model(top.height) != top:
            return []
        revoked = [Change(False, model) for model in reversed(models[kept:])]
        return revoked + [Change(True, model) for model in accepted]

    def _is_canonical(self, model: ModelView, head: ModelView) -> bool:
        if model.height >= head.height:
            return model == head
        return self._federation.model(model.height) == model

    def _next_height(self, kept: int, head: ModelView) -> int:
        """The height of the next model to report, if the first ``kept`` reported ones remain."""
        cursor = self._cursor
        if kept:
            return cursor.models[kept - 1].height + 1
        begin = cursor.models[0].height if cursor.models else cursor.begin
        return head.height if begin is None else min(begin, head.height + 1)

    # ------------------------------------------------------------------ where it stands

    def _offer(self, change: Change) -> None:
        """Save the next report to disk before it is made, so that a restart repeats it first."""
        if self._cursor.offered is not None:
            return
        self._cursor.offered = change
        try:
            self._save()
        except OSError:
            self._cursor.offered = None
            raise

    def _conclude(self, change: Change, seen: Observation) -> None:
        cursor = self._cursor
        cursor.offered = None
        cursor.block_number = seen.block_number
        if change.accepted:
            cursor.models.append(change.model)
            self._forget_old(seen)
            return
        cursor.models.pop()
        if not cursor.models:
            cursor.begin = change.model.height
            if cursor.forgotten:
                _log.error(
                    "alert: the history was replaced deeper than this follower remembers; rounds "
                    "below were reported and may not be part of it any more",
                    height=change.model.height,
                )

    def _forget_old(self, seen: Observation) -> None:
        models = self._cursor.models
        final = min(seen.final_height, models[-1].height) - _KEPT_FINAL
        old = sum(model.height < final for model in models)
        old = max(old, len(models) - _KEPT)
        if old > 0:
            del models[:old]
            self._cursor.forgotten = True

    def _save(self) -> None:
        if self._path is not None:
            save_cursor(self._path, self._cursor)
