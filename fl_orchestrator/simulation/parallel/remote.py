"""A party's trainer in another process, as the parties of a simulation use one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Final, Protocol

import numpy as np

from fl_orchestrator.simulation.parallel.crew import Crew
from fl_orchestrator.simulation.parallel.hosted import Question
from fl_orchestrator.training.trainer import FloatArray, Metrics, WeightSpec

# The trained weights that wait for their parties take at most so much memory, in bytes.
_MOST_WAITING: Final = 1 << 30

_Fit = tuple[list[FloatArray], int, Metrics]


@dataclass(frozen=True, slots=True)
class Training:
    """What a party will train in the open round."""

    party: int
    weights: list[FloatArray]
    config: dict[str, Any]

    def is_of(self, weights: list[FloatArray], config: dict[str, Any]) -> bool:
        pairs = zip(self.weights, weights, strict=True)
        return self.config == config and all(a is b or np.array_equal(a, b) for a, b in pairs)


class RemoteTrainer:
    """The trainer of party ``number`` of a crew (`CheckedTrainer`)."""

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew = crew
        self._number = number
        self._begun: tuple[Training, Callable[[], _Fit]] | None = None

    def asked(self, question: Question) -> Callable[[], Any]:
        """Put a question; the result waits for the answer."""
        if self._begun is not None:  # one question at a time
            training, answer = self._begun
            trained = answer()
            self._begun = training, lambda: trained
        return self._crew.ask(self._number, question)

    def begin(self, training: Training) -> None:
        """Train from now on, for the call of `fit` that follows."""
        question = methodcaller("fit", training.weights, training.config)
        self._begun = training, self.asked(question)

    def fit(self, weights: list[FloatArray], config: dict[str, Any]) -> _Fit:
        """Train, or wait for the training that was begun. Raises what the crew does."""
        begun, self._begun = self._begun, None
        if begun is not None:
            trained = begun[1]()
            self._crew.taken()
            if begun[0].is_of(weights, config):
                return trained
        found: _Fit = self._answer("fit", weights, config)
        return found

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        found: tuple[float, int, Metrics] = self._answer("evaluate", weights, config)
        return found

    def initial_weights(self) -> dict[str, FloatArray] | None:
        found: dict[str, FloatArray] | None = self._answer("initial_weights")
        return found

    def architecture(self) -> str | None:
        found: str | None = self._answer("architecture")
        return found

    def compiled(self) -> dict[str, Any]:
        found: dict[str, Any] = self._answer("compiled")
        return found

    def require_model(self, tensors: Sequence[WeightSpec]) -> None:
        self._answer("require_model", tensors)

    def restore_site_state(self, state: dict[str, Any]) -> None:
        self._answer("restore_site_state", state)

    def _answer(self, name: str, *arguments: Any) -> Any:
        return self.asked(methodcaller(name, *arguments))()


class _Begins(Protocol):
    def begin(self, training: Training) -> bool | None:
        """Begin a training; False if there is nothing to train."""
        ...


class Ahead:
    """Begins the trainings of a round before their parties come to them, some at a time."""

    def __init__(self, crew: Crew, parties: Sequence[_Begins]) -> None:
        self._most = crew.at_once
        crew.taken = self.next
        self._parties = parties
        self._waiting: deque[Training] = deque()

    def begin(self, trainings: Iterable[Training]) -> None:
        """Begin the first trainings of a round."""
        self._waiting = deque(trainings)
        if not self._waiting:
            return
        size = sum(array.nbytes for array in self._waiting[0].weights)
        for _ in range(max(self._most, _MOST_WAITING // max(size, 1))):
            self.next()

    def next(self) -> None:
        """Begin one more, because a party has taken its own."""
        while self._waiting:
            training = self._waiting.popleft()
            if self._parties[training.party].begin(training) is not False:
                return
