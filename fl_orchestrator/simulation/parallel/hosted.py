"""What runs in another process: trainers are made or loaded there, and asked.

Everything travels as bytes that the other side loads itself, so that what cannot be pickled or
loaded is told in a sentence, and no process ends because of it.
"""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.errors import FloError
from fl_orchestrator.simulation.parallel.quiet import log_warnings_only
from fl_orchestrator.simulation.trainers import BadTrainers, MakeTrainer, party_trainer
from fl_orchestrator.training.checked import CheckedTrainer
from fl_orchestrator.training.failures import TrainerFailed, users_code
from fl_orchestrator.training.site.state import SiteState
from fl_orchestrator.training.trainer import Trainer

Question = Callable[[CheckedTrainer], Any]

_FUNCTION_HINT: Final = (
    "Write it, and what it uses, at the top level of a file; or give a function of a file that "
    "makes a party's trainer, trainers=make and parties=10."
)


def pickled(what: Any, told: str) -> bytes:
    """Raises BadTrainers, in which ``told`` begins the sentence."""
    try:
        return pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # whatever a class of the user raises
        raise BadTrainers(f"{told} cannot be pickled: {_short(error)}.", _FUNCTION_HINT) from error


def _unpickled(data: bytes, told: str) -> Any:
    try:
        return pickle.loads(data)  # noqa: S301 - bytes of this run's own
    except Exception as error:
        raise BadTrainers(
            f"{told} cannot be loaded in another process: {_short(error)}.",
            "Write its class or function in a file: a notebook's and a console's own are unknown "
            "to other processes.",
        ) from error


def _short(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def packed(trainers: Sequence[Trainer] | MakeTrainer, numbers: Sequence[int]) -> bytes:
    """The trainers of these parties for `made`, or the function that makes them.

    Trainers that share an object share one there too. Raises BadTrainers.
    """
    if callable(trainers):
        return pickled(trainers, "The function that makes the trainers")
    chosen = {number: trainers[number] for number in numbers}
    try:
        return pickled(chosen, "The trainers")
    except BadTrainers:
        for number, trainer in chosen.items():  # to name one
            pickled(trainer, f"The trainer of party {number}")
        raise


def made(data: bytes, numbers: Sequence[int], parties: int) -> dict[int, CheckedTrainer]:
    """The trainers of `packed`, by their numbers. Raises BadTrainers and TrainerFailed."""
    found = _unpickled(data, "What makes the trainers")
    if isinstance(found, Mapping):
        return {number: party_trainer(number, found[number]) for number in numbers}
    try:
        place = Path(inspect.getsourcefile(found) or "trainers")
    except TypeError:  # an object that is called
        place = Path(type(found).__module__)
    trainers = {}
    for number in numbers:
        try:
            with users_code(f"Making the trainer of party {number} failed", place, None):
                trainers[number] = found(number, parties)
        except TrainerFailed as error:
            if isinstance(error.__cause__, FloError):  # it has said all of that already
                raise error.__cause__ from None
            raise
    return {number: party_trainer(number, trainer) for number, trainer in trainers.items()}


# ------------------------------------------------------------------ in a process of our own

#: The trainers of this worker process; a pool's tasks have no other place for them.
_here: dict[int, CheckedTrainer] = {}


def begin(data: bytes, numbers: Sequence[int], parties: int) -> int:
    """Make this process's trainers; returns its id."""
    log_warnings_only()
    _here.update(made(data, numbers, parties))
    return os.getpid()


def ask(number: int, question: Question) -> Any:
    """Put a question to a trainer of this process."""
    return question(_here[number])


# ------------------------------------------------------------------ on a user's executor


@dataclass(frozen=True, slots=True)
class Kept:
    """What a trainer keeps between two tasks: itself, pickled, or its site's state, or nothing."""

    trainer: bytes | None = None
    state: SiteState | None = None


def task(data: bytes, number: int, parties: int, kept: Kept, question: Question) -> Any:
    """Put a question to a party's trainer, wherever this runs; returns its answer, and `Kept`.

    A trainer that says what it keeps (`Stateful`) gets that back, and any other one is pickled
    after the question if it has changed. Raises BadTrainers, and what the trainer raises.
    """
    trainer = (
        made(data, [number], parties)[number]
        if kept.trainer is None
        else _unpickled(kept.trainer, f"The trainer of party {number}")
    )
    if trainer.keeps_state:
        if kept.state is not None:
            trainer.restore_site_state(kept.state)
        answer = question(trainer)
        return answer, Kept(state=trainer.site_state())
    before = _whole(number, trainer)
    answer = question(trainer)
    after = _whole(number, trainer)
    return answer, kept if before == after else Kept(trainer=after)


def _whole(number: int, trainer: CheckedTrainer) -> bytes:
    try:
        return pickled(trainer, "It")
    except BadTrainers as error:
        raise BadTrainers(
            f"What the trainer of party {number} keeps between rounds would be lost on an "
            f"executor: it has no site_state, and {error.message[0].lower()}{error.message[1:]}",
            "Give it site_state and restore_site_state (docs/python-api.md), or use workers=2.",
        ) from error
