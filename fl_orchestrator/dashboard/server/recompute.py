"""Recomputes rounds for whoever looks: one at a time, from a queue, and each once."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from requests import RequestException

from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.printable import printable
from fl_orchestrator.service.metered import MeteredStore

if TYPE_CHECKING:
    from fl_orchestrator.audit.federation import Federation

_log = get_logger(__name__)

#: How many may wait.
MOST_WAITING: Final = 8
_KEPT: Final = 512


@dataclasses.dataclass(slots=True)
class Job:
    """``state`` is waiting, running, equal, wrong or failed; ``text`` says it in a sentence.

    ``part`` of 1 is done. ``root`` is that of the model, ``seconds`` is how long it took.
    """

    round: int
    root: str
    state: str = "waiting"
    text: str = ""
    part: float = 0.0
    seconds: float = 0.0


class Busy(FloError):
    """Too many rounds wait to be recomputed."""


#: Opens the federation with a connection and a store of its own.
Open: TypeAlias = "Callable[[Callable[[ContentStore], ContentStore]], Federation]"


class Recomputations:
    """A thread that recomputes the models it is asked for."""

    def __init__(self, open_: Open) -> None:
        self._open = open_
        self._federation: Federation | None = None
        self._jobs: dict[int, Job] = {}
        self._queue: queue.Queue[tuple[Job, ModelView, int] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._read = 0
        self._thread = threading.Thread(target=self._work, name="recompute", daemon=True)
        self._thread.start()

    def ask(self, model: ModelView, included: int) -> Job:
        """Recompute a model with so many updates, unless that was done. Raises Busy."""
        root = "0x" + model.root.hex()
        with self._lock:
            job = self._jobs.get(model.round)
            # What failed may work now; what has another root is another model of that round.
            if job is not None and job.root == root and job.state != "failed":
                return job
            if self._queue.qsize() >= MOST_WAITING:
                raise Busy("Many rounds are being recomputed.", "Ask again in a minute.")
            job = self._jobs[model.round] = Job(model.round, root)
            while len(self._jobs) > _KEPT:
                del self._jobs[next(iter(self._jobs))]
            self._queue.put((job, model, included))
        return job

    def jobs(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dataclasses.asdict(job) for job in self._jobs.values()]

    def close(self) -> None:
        self._queue.put(None)

    def _work(self) -> None:
        while (asked := self._queue.get()) is not None:
            # What computes is imported when a first round is asked for.
            from web3.exceptions import Web3Exception

            job, model, included = asked
            started = time.monotonic()
            job.state, job.text = "running", "Fetching the updates, and computing"
            try:
                job.state, job.text = self._outcome(job, model, included)
            except (FloError, OSError, Web3Exception, RequestException) as error:
                job.state, job.text = "failed", printable(str(error))
                self._federation = None
            except Exception as error:
                _log.exception("recomputation failed")
                job.state, job.text = "failed", f"a defect: {type(error).__name__}"
                self._federation = None
            job.seconds, job.part = round(time.monotonic() - started, 1), 1.0

    def _outcome(self, job: Job, model: ModelView, included: int) -> tuple[str, str]:
        from fl_orchestrator.audit.model_audit import IncorrectModel
        from fl_orchestrator.model.vector_file import VectorKind, max_file_bytes

        federation = self._opened()
        layout = federation.manifest.layout
        size = max_file_bytes(layout, VectorKind.UPDATE)
        self._read, self._job = 0, job
        self._total = included * size + max_file_bytes(layout, VectorKind.GLOBAL)
        try:
            (result,) = federation.checks(model)
        except IncorrectModel as error:
            return "wrong", printable(error.message)
        count = result.included.bit_count()
        return "equal", f"Recomputed from {count} updates and equal, bit for bit"

    def _opened(self) -> Federation:
        if self._federation is None:
            self._federation = self._open(
                lambda store: MeteredStore(store, self._count, lambda _size: None)
            )
        return self._federation

    _job: Job | None = None
    _total = 1

    def _count(self, size: int) -> None:
        self._read += size
        if self._job is not None:
            part = min(0.95, self._read / self._total)
            if part - self._job.part >= 0.05:
                self._job.part = round(part, 2)
