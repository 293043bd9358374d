"""The trainers of a simulation elsewhere: in processes of its own, or on the user's executor."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any, Final, Protocol

from fl_orchestrator.errors import InputError, TrainingError
from fl_orchestrator.simulation.parallel import hosted
from fl_orchestrator.simulation.parallel.hosted import Kept, Question
from fl_orchestrator.simulation.trainers import MakeTrainer
from fl_orchestrator.training.trainer import Trainer

#: So many trainings of an executor are begun before their parties need them, if memory allows.
_EXECUTOR_AHEAD: Final = 64
_GUARD_HINT: Final = (
    'A script that trains with workers must call simulate below `if __name__ == "__main__":`, '
    "because each worker imports the script."
)


class WorkerLost(TrainingError):
    """A process in which parties train has ended."""


class Crew(Protocol):
    """The trainers of all parties, which are asked at the same time."""

    #: How many questions it is worth to ask at once.
    at_once: int
    #: Called when a training that was begun early has been taken.
    taken: Callable[[], object]

    def ask(self, number: int, question: Question) -> Callable[[], Any]:
        """Put a question to a party's trainer; the result waits for the answer.

        Raises BadTrainers, WorkerLost and what the trainer raises.
        """
        ...


@contextlib.contextmanager
def crew_of(
    trainers: Sequence[Trainer] | MakeTrainer,
    parties: int,
    workers: int,
    executor: Executor | None,
) -> Iterator[Crew | None]:
    """Where the trainers are; None for this process. Raises InputError.

    Processes of our own end with the block, and at once if it raises.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}.", "Give 1 or more.")
    if executor is not None and workers > 1:
        raise InputError("There are workers and an executor.", "Leave one of them out.")
    if executor is not None:
        crew = OnExecutor(executor, trainers, parties)
        try:
            yield crew
        finally:
            crew.cancel()
    elif min(workers, parties) == 1:
        yield None
    else:
        with _processes(trainers, parties, min(workers, parties)) as processes:
            yield processes


def _nothing() -> None:
    """What is called when a training is taken, as long as nothing waits for that."""


# ------------------------------------------------------------------ processes of our own


@contextlib.contextmanager
def _processes(
    trainers: Sequence[Trainer] | MakeTrainer, parties: int, workers: int
) -> Iterator[Processes]:
    if multiprocessing.parent_process() is not None and _is_starting():
        raise InputError("A worker process has begun a simulation of its own.", _GUARD_HINT)
    processes = Processes(trainers, parties, workers)
    try:
        processes.begin()
        yield processes
    except BaseException:
        processes.end_at_once()
        raise
    finally:
        processes.close()


def _is_starting() -> bool:
    """Whether this is a worker that still imports the user's script."""
    return bool(getattr(multiprocessing.current_process(), "_inheriting", False))


class Processes:
    """Worker processes, in which party n is always trained by the same one, so its state is there.

    That is why each of them is a pool of its own.
    """

    def __init__(
        self, trainers: Sequence[Trainer] | MakeTrainer, parties: int, workers: int
    ) -> None:
        self.at_once = 2 * workers
        self.taken: Callable[[], object] = _nothing
        self._parties = parties
        numbers = [range(first, parties, workers) for first in range(workers)]
        self._packed = [(hosted.packed(trainers, mine), mine) for mine in numbers]
        context = multiprocessing.get_context("spawn")
        self._pools = [ProcessPoolExecutor(1, context, _ignore_interrupts) for _ in numbers]
        self._pids: list[int] = []

    def begin(self) -> None:
        """Make the trainers. Raises BadTrainers, TrainerFailed and WorkerLost."""
        begun = [
            pool.submit(hosted.begin, data, numbers, self._parties)
            for pool, (data, numbers) in zip(self._pools, self._packed, strict=True)
        ]
        self._packed.clear()
        try:
            for future in begun:
                self._pids.append(future.result())
        except BrokenExecutor as error:
            raise WorkerLost(
                "A worker process ended before it could train.", _GUARD_HINT
            ) from error

    def ask(self, number: int, question: Question) -> Callable[[], Any]:
        pool = self._pools[number % len(self._pools)]
        try:
            future = pool.submit(hosted.ask, number, question)
        except BrokenExecutor:
            future = None

        def answer() -> Any:
            try:
                if future is not None:
                    return future.result()
            except BrokenExecutor as error:
                raise _lost(number) from error
            raise _lost(number)

        return answer

    def end_at_once(self) -> None:
        """End the processes, whatever they do."""
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def close(self) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C goes to all processes of a terminal; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _lost(number: int) -> WorkerLost:
    return WorkerLost(
        f"The process in which party {number} trains has ended.",
        "The system may have stopped it because memory ran out: use fewer workers.",
    )


# ------------------------------------------------------------------ the user's executor


class OnExecutor:
    """Each question is a task that brings the trainer along, or the function that makes it.

    Any process may run it, so what a trainer keeps goes back and forth with the tasks.
    """

    def __init__(
        self, executor: Executor, trainers: Sequence[Trainer] | MakeTrainer, parties: int
    ) -> None:
        self.at_once = _EXECUTOR_AHEAD
        self.taken: Callable[[], object] = _nothing
        self._executor = executor
        self._parties = parties
        shared = hosted.packed(trainers, ()) if callable(trainers) else b""
        self._packed = [shared or hosted.packed(trainers, [n]) for n in range(parties)]
        self._kept = [Kept() for _ in range(parties)]
        self._asked: dict[int, Future[Any]] = {}

    def ask(self, number: int, question: Question) -> Callable[[], Any]:
        if number in self._asked:
            raise RuntimeError(f"party {number} has not answered yet")
        future = self._executor.submit(
            hosted.task, self._packed[number], number, self._parties, self._kept[number], question
        )
        self._asked[number] = future

        def answer() -> Any:
            del self._asked[number]
            found, self._kept[number] = future.result()
            return found

        return answer

    def cancel(self) -> None:
        """Take back what nobody has begun to work on."""
        for future in self._asked.values():
            future.cancel()
