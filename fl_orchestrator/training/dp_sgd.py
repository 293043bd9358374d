"""DP-SGD (Abadi et al. 2016): training that says little about any single row.

Every step takes each row with the same probability, independently of the others (Poisson
subsampling). It clips each row's gradient to a norm of at most `clip_norm`, adds the gradients and
Gaussian noise of standard deviation `noise_multiplier * clip_norm` to each value of the sum, and
divides by the expected number of rows. `Mechanism` has what an accountant must know of it.

Noise and choice of rows come from the operating system's secure source, because who can predict
them can subtract them. Only simulations and tests give a seeded source.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError, TrainingError
from fl_orchestrator.training.trainer import (
    BadTrainingConfig,
    FloatArray,
    Metrics,
    Settings,
    Trainer,
)

Array = NDArray[np.float64]
#: Returns so many random bytes.
RandomBytes = Callable[[int], bytes]
#: The source of one training; its argument is the training's seed.
Source = Callable[[int], RandomBytes]

_MOST_NOISE: Final = 1e6
# Per-row gradients of a step are computed for so many values at a time (64 MB of float32).
_MOST_VALUES: Final = 1 << 24


class CannotProtect(InputError):
    """This trainer, or this model, cannot be trained with record-level privacy."""


class BadProtection(InputError):
    """A setting of record-level privacy is out of its range."""


class RowsChanged(TrainingError):
    """The number of rows is no longer that from which the privacy was computed."""


@dataclass(frozen=True, slots=True)
class Protection:
    """How strongly rows are protected.

    `noise_multiplier` is the noise's standard deviation divided by `clip_norm`, which is the
    largest L2 norm of one row's gradient over all tensors together.
    """

    noise_multiplier: float
    clip_norm: float

    def __post_init__(self) -> None:
        """Raises BadProtection."""
        for name, value, most in (
            ("noise multiplier", self.noise_multiplier, _MOST_NOISE),
            ("clip norm", self.clip_norm, np.inf),
        ):
            if not (0 < value < most):
                raise BadProtection(f"The {name} is {value}.", "Give a number above zero.")


@dataclass(frozen=True, slots=True, order=True)
class Mechanism:
    """One training as an accountant sees it: `steps` Gaussian mechanisms of one kind.

    In each, every row takes part with probability `rate`. A row is added or removed (the
    neighbouring relation); how many rows there are is not secret.
    """

    noise_multiplier: float
    rate: float
    steps: int


class Descent(Protocol):
    """One training in progress."""

    def clipped_sum(self, rows: NDArray[np.int64], clip_norm: float) -> list[Array]:
        """The sum of the gradients of these rows (at least one), each clipped on its own."""
        ...

    def move(self, gradient: list[Array]) -> None:
        """Let the optimizer do one step."""
        ...

    def weights(self) -> list[FloatArray]:
        """The weights now, all that `fit` returns. None may depend on rows but by `move`."""
        ...


@runtime_checkable
class Descending(Protocol):
    """A trainer that can be trained by single gradients, for example a `KerasTrainer`.

    It has these methods although it may refuse: then its sentence says why.
    """

    def require_rows_apart(self) -> None:
        """Raise CannotProtect if the model mixes rows, as batch normalisation does.

        Also if the gradients of single rows cannot be had for another reason.
        """
        ...

    def row_count(self) -> int: ...

    def descent(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> AbstractContextManager[Descent]: ...


@runtime_checkable
class PerRow(Protocol):
    """A trainer in NumPy that knows the gradient of each row; it is trained by plain SGD."""

    def row_count(self) -> int: ...

    def row_gradients(self, weights: list[Array], rows: NDArray[np.int64]) -> list[Array]:
        """The gradients of the loss of each of these rows: (rows, *shape) for each tensor."""
        ...


class PrivateTrainer:
    """Trains with DP-SGD what another trainer describes (see `Trainer`).

    `fit` returns no metrics, because the loss of rows that were trained on has no noise.
    """

    def __init__(
        self, trainer: Trainer, protection: Protection, source: Source | None = None
    ) -> None:
        """`source` is for simulations and tests; by default noise is unpredictable.

        Raises:
            CannotProtect: the trainer has no gradients of single rows.
        """
        if isinstance(trainer, Descending):
            trainer.require_rows_apart()
        elif not isinstance(trainer, PerRow):
            raise CannotProtect(
                f"The trainer ({type(trainer).__name__}) cannot be trained with record-level "
                "privacy: it does not give the gradients of single rows.",
                "Use a trainer for Keras, PyTorch or scikit-learn, or add the methods "
                "row_count() and row_gradients() (docs/privacy.md).",
            )
        self._trainer: Any = trainer
        self._protection = protection
        self._source = source or _secure
        self.rows = int(trainer.row_count())
        if self.rows < 1:
            raise CannotProtect(f"The trainer has {self.rows} rows.", "It needs at least one.")

    def mechanism(self, config: dict[str, Any]) -> Mechanism:
        """What one call of `fit` does with these training settings. Raises BadTrainingConfig."""
        settings = Settings.from_config(config)
        rate = min(1.0, settings.batch_size / self.rows)
        return Mechanism(self._protection.noise_multiplier, rate, settings.steps_for(self.rows))

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights`; the number of rows is exact, for it is not secret.

        Raises:
            BadTrainingConfig: a setting is unusable.
            RowsChanged: the trainer's number of rows is another than at the start.
        """
        settings, mechanism = Settings.from_config(config), self.mechanism(config)
        if settings.proximal_mu:
            raise BadTrainingConfig(
                "FedProx (proximalMu) cannot be combined with record-level privacy.",
                "Leave out one of them.",
            )
        if self._trainer.row_count() != self.rows:
            raise RowsChanged(
                f"The trainer has {self._trainer.row_count()} rows, and had {self.rows} at the "
                "start, from which its privacy was computed.",
                "Start the party again.",
            )
        draw, deviation = self._source(settings.seed), mechanism.noise_multiplier
        deviation *= self._protection.clip_norm
        with self._descent(weights, config) as descent:
            for _ in range(mechanism.steps):
                chosen = poisson_sample(draw, self.rows, mechanism.rate)
                total = self._clipped_sum(descent, chosen, weights)
                for values in total:
                    values += deviation * gaussian(draw, values.shape)
                    values /= mechanism.rate * self.rows
                descent.move(total)
            return descent.weights(), self.rows, {}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Evaluate as the trainer does, without noise: the result stays at this site."""
        evaluated: tuple[float, int, Metrics] = self._trainer.evaluate(weights, config)
        return evaluated

    def initial_weights(self) -> Mapping[str, FloatArray] | None:
        """As the trainer's own; None if it does not describe its model."""
        method = getattr(self._trainer, "initial_weights", None)
        return None if method is None else method()

    def _clipped_sum(
        self, descent: Descent, chosen: NDArray[np.int64], weights: list[FloatArray]
    ) -> list[Array]:
        total = [np.zeros(array.shape) for array in weights]
        piece = max(1, _MOST_VALUES // max(1, sum(array.size for array in weights)))
        for start in range(0, len(chosen), piece):
            part = descent.clipped_sum(chosen[start : start + piece], self._protection.clip_norm)
            for values, more in zip(total, part, strict=True):
                values += more
        return total

    def _descent(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> AbstractContextManager[Descent]:
        if isinstance(self._trainer, Descending):
            return self._trainer.descent(weights, config)
        rate = Settings.from_config(config).learning_rate
        return _plain_descent(self._trainer, weights, rate)


class _PlainDescent:
    """SGD in float64 with the gradients of a `PerRow` trainer."""

    def __init__(self, trainer: PerRow, weights: list[FloatArray], rate: float) -> None:
        self._trainer, self._rate = trainer, rate
        self._now = [array.astype(np.float64) for array in weights]

    def clipped_sum(self, rows: NDArray[np.int64], clip_norm: float) -> list[Array]:
        return clipped_sum(self._trainer.row_gradients(self._now, rows), clip_norm)

    def move(self, gradient: list[Array]) -> None:
        for values, slope in zip(self._now, gradient, strict=True):
            values -= self._rate * slope

    def weights(self) -> list[FloatArray]:
        return [values.astype(np.float32) for values in self._now]


@contextmanager
def _plain_descent(trainer: PerRow, weights: list[FloatArray], rate: float) -> Iterator[Descent]:
    yield _PlainDescent(trainer, weights, rate)


def clipped_sum(gradients: list[Array], clip_norm: float) -> list[Array]:
    """Clip each row's gradient to an L2 norm of at most `clip_norm`, and add the rows up.

    The norm is that over all tensors. A row whose gradient is not finite counts as zero: it would
    otherwise make the sum NaN, which tells that the row is there.
    """
    rows = len(gradients[0])
    flat = [np.asarray(array, np.float64).reshape(rows, -1) for array in gradients]
    norms = np.sqrt(sum(np.einsum("nv,nv->n", array, array) for array in flat))
    finite = np.isfinite(norms)
    factors = np.where(finite, np.minimum(1.0, clip_norm / np.maximum(norms, 1e-300)), 0.0)
    return [
        np.einsum("n,nv->v", factors, np.where(finite[:, None], part, 0.0)).reshape(whole.shape[1:])
        for part, whole in zip(flat, gradients, strict=True)
    ]


def poisson_sample(draw: RandomBytes, rows: int, rate: float) -> NDArray[np.int64]:
    """The rows of one step: each with probability `rate`, independently of the others."""
    return np.flatnonzero(_uniform(draw, rows) < rate)


def gaussian(draw: RandomBytes, shape: tuple[int, ...]) -> Array:
    """Standard normal values by the method of Box and Muller, from 53-bit uniform numbers."""
    size = int(np.prod(shape, dtype=np.int64))
    pairs = -(-size // 2)
    radius = np.sqrt(-2.0 * np.log(1.0 - _uniform(draw, pairs)))
    angle = 2.0 * np.pi * _uniform(draw, pairs)
    values = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return values[:size].reshape(shape)


def _uniform(draw: RandomBytes, size: int) -> Array:
    """Uniform in [0, 1)."""
    words: NDArray[np.uint64] = np.frombuffer(draw(8 * size), "<u8")
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _secure(seed: int) -> RandomBytes:  # noqa: ARG001 - nothing that can be repeated
    """The operating system's cryptographically secure source."""
    return secrets.token_bytes


def seeded(seed: int) -> RandomBytes:
    """A source for simulations and tests: who knows the seed can subtract the noise."""
    return np.random.Generator(np.random.PCG64([seed, 0xD9])).bytes
