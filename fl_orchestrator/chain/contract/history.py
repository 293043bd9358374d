"""Follows a federation's history: each accepted and each revoked model is reported once, in order.

It compares the history on-chain with what it has reported, and needs view calls only: no events,
no archive. Where it stands is in a small file, the cursor, so that it goes on after a restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import structlog

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.cursor import Change, Cursor, load_cursor, save_cursor
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.types import ModelView, Observation

_log = structlog.get_logger(__name__)

# So many new heights are read before the first of them is reported.
_BATCH: Final = 256
# Below the final height only a reorganisation revokes anything, and hardly one of so many rounds.
_KEPT_FINAL: Final = 64
# The size of the cursor has a limit, even where nobody calls `finalize`.
_KEPT: Final = 8192
# Nodes behind one address are not always at the same block. An observation that is older than the
# last one by no more blocks than these is one node's delay, and says nothing of a revocation.
_DELAY_BLOCKS: Final = 16


class HistorySource(Protocol):
    """What the follower asks of a federation; `Federation` is one."""

    @property
    def chain_id(self) -> int: ...

    @property
    def address(self) -> str: ...

    def observe(self, account: str) -> Observation: ...

    def model(self, height: int) -> ModelView: ...


class HistoryHook:
    """What is to be done about the rounds of a history: override what you need.

    Each method is called once for each change of the history, in the order of the changes. When it
    raises, the follower raises the same, and calls it again with the same model next time. When
    the process is killed during a call, or immediately after it, the restarted process makes that
    call again: the same height, round and root. By then the model need not be in the history any
    more; in that case the call for its revocation comes next.
    """

    def on_accepted(self, model: ModelView) -> None:
        """This model has become the head, above the one that was reported before it."""

    def on_revoked(self, model: ModelView) -> None:
        """This model, the last accepted one that was reported, is not in the history any more.

        It was proven wrong, or is based on one that was, or a reorganisation has replaced it.
        """


class HistoryFollower:
    """Reports the changes of one federation's history to a hook; every hook has its own follower.

    ``cursor`` is the file that keeps where it stands; without one it starts anew each time. A new
    follower reports the whole history from height 1 on, or with ``from_head`` begins with the
    present head, which may be genesis. A cursor that is damaged or of another federation is an
    alert in the log and replaced as if there had been none.

    What was accepted and revoked again between two looks is not reported: nothing on-chain but
    the events has it. Where a reorganisation replaces more than the contract has left open to
    disputes and 64 rounds below, it reports what it remembers and warns about the rest.
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
        """Report what has changed up to an observation, and return how many changes there were.

        ``seen`` is what a role has observed, or None to observe now. With nothing new, it takes no
        request. Raises what the hook, the node and the file system raise.
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
        """What is to be reported next, in its order; what was offered before comes first."""
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
            return []  # The history has become shorter meanwhile: the next look finds it so.

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
        # A root covers all the history below it: where the last model is still the same, all were
        # of one history.
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
        """The height of the next model to report, when so many of the reported ones remain."""
        cursor = self._cursor
        if kept:
            return cursor.models[kept - 1].height + 1
        begin = cursor.models[0].height if cursor.models else cursor.begin
        return head.height if begin is None else min(begin, head.height + 1)

    # ------------------------------------------------------------------ where it stands

    def _offer(self, change: Change) -> None:
        """Note on disk what is about to be reported, so that nothing else comes before it."""
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
