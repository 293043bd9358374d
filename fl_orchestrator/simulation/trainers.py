"""The trainers of a simulation: made of what the user gives, and asked wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from fl_orchestrator.errors import InputError
from fl_orchestrator.training.checked import CheckedTrainer, checked_trainer
from fl_orchestrator.training.trainer import FloatArray, Trainer, WeightSpec

#: Makes the trainer of a party: called with its number, from 0, and the number of parties.
MakeTrainer = Callable[[int, int], Trainer]

_T = TypeVar("_T")


class BadTrainers(InputError):
    """The trainers cannot be simulated together."""


class PartyTrainer(Trainer, Protocol):
    """A party's trainer, in this process or in another (`CheckedTrainer`)."""

    def initial_weights(self) -> dict[str, FloatArray] | None: ...

    def architecture(self) -> str | None: ...

    def compiled(self) -> dict[str, Any]: ...

    def require_model(self, tensors: Sequence[WeightSpec]) -> None: ...

    def restore_site_state(self, state: dict[str, Any]) -> None: ...


def begun(trainer: Any, question: Callable[[Any], _T]) -> Callable[[], _T]:
    """Put a question that can be pickled to a trainer; the result gives the answer, once.

    A trainer in another process works on it from now on, one in this process when it is called.
    """
    asked = getattr(trainer, "asked", None)
    return (
        partial(question, trainer) if asked is None else cast("Callable[[], _T]", asked(question))
    )


def party_trainer(number: int, trainer: Trainer) -> CheckedTrainer:
    """The checked trainer of a party. Raises BadTrainers if it is no trainer."""
    if missing := [m for m in ("fit", "evaluate") if not callable(getattr(trainer, m, None))]:
        raise BadTrainers(
            f"The trainer of party {number} has no {' and no '.join(missing)}.",
            "docs/python-api.md shows what a trainer is.",
        )
    return checked_trainer(trainer)


def require_number(trainers: Sequence[Trainer] | MakeTrainer, parties: int | None) -> int:
    """How many trainers there are. Raises BadTrainers."""
    if callable(trainers):
        if parties is None or parties < 1:
            raise BadTrainers("A function makes the trainers.", "Say how many: parties=10.")
        return parties
    if parties is not None and parties != len(trainers):
        raise BadTrainers(
            f"There are {len(trainers)} trainers for {parties} parties.", "Leave parties out."
        )
    if not trainers:
        raise BadTrainers("There are no trainers.", "Give one for each party.")
    return len(trainers)


def made_trainers(
    trainers: Sequence[Trainer] | MakeTrainer, parties: int | None
) -> list[CheckedTrainer]:
    """The trainer of each party, in this process. Raises BadTrainers, and TrainerFailed."""
    count = require_number(trainers, parties)
    made = (
        [trainers(number, count) for number in range(count)]
        if callable(trainers)
        else list(trainers)
    )
    return [party_trainer(number, trainer) for number, trainer in enumerate(made)]
