"""A watcher as an object: computes every model again, and has wrong ones revoked."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from fl_orchestrator.members.base import Member
from fl_orchestrator.members.connection import Connection
from fl_orchestrator.members.mirrors import OpenMirror, guards
from fl_orchestrator.roles.retention import FOREVER, Retention
from fl_orchestrator.roles.watcher.alerts import Alert
from fl_orchestrator.roles.watcher.watcher import Watcher as Worker
from fl_orchestrator.roles.watcher.watcher import WatcherSettings
from fl_orchestrator.service.process import Process


class Watcher(Member):
    """A watcher of a federation, as `flo watcher run` has it. Anyone can be one; it needs no stake.

    Args:
        site: Where its federation, key and files are.
        max_bond: The largest bond for one demand, in wei; default: what the account has.
        keep_all: Unpin nothing: keep an archive with which auditors can check every round.
        mirrors: The federation's mirrors that it guards too, from `mirrors.open_mirror`. The
            account needs coin on their chains, and at home.
    """

    role: ClassVar[str] = "watcher"

    def __init__(
        self,
        site: Connection | Process,
        *,
        max_bond: int | None = None,
        keep_all: bool = False,
        mirrors: Sequence[OpenMirror] = (),
    ) -> None:
        super().__init__(site)
        with self._closing_on_error():
            process, home = self.process, self.process.home / "watcher"
            margin = FOREVER if keep_all else None
            context = process.context(
                process.manifest(),
                retention=Retention(process.chain, process.store, home / "kept.json", margin),
            )
            self._worker = Worker(
                dataclasses.replace(context, home=home), WatcherSettings(max_bond=max_bond)
            )
            self._guards = guards(process, mirrors, max_bond)

    def run(self, *, once: bool = False, timeout: float | None = None) -> Counter[str]:
        """Check every accepted model, from the first round on, until `stop`.

        With ``once`` it does what is due now; then an outage, or ``timeout`` seconds without a
        block, ends it with an error. Returns how often each action was done.
        """
        worker, guards_ = self._worker, self._guards

        def finished() -> bool:
            return once and not worker.busy and all(guard.idle for guard in guards_)

        return self.process.serve(worker, *guards_, finished=finished, once=once, timeout=timeout)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """What a person must know: models that are wrong, or cannot be checked."""
        return self._worker.alerts

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a person must know of the mirrors.

        Results that are wrong, cannot be checked, or cannot be proven wrong at home.
        """
        return tuple(doubt for guard in self._guards for doubt in guard.doubts)

    @property
    def unchecked_rounds(self) -> tuple[int, ...]:
        """Final rounds whose data nobody has to keep any more, and that were not checked."""
        return self._worker.unchecked_rounds
