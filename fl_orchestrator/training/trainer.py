"""The interface to training frameworks, and the code that all adapters share.

A trainer has no access to the chain, to a store or to other parties: it gets weights and settings,
and returns weights and counts. Its methods are those of Flower's NumPyClient, so that users can
bring an existing one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError

FloatArray = NDArray[np.float32]
Metrics = dict[str, float]


#: The rows of one batch of an evaluation, by whatever framework.
TEST_BATCH: Final = 1_024


class BadTrainingConfig(InputError):
    """A training setting is missing, unknown or out of its range."""


class BadWeights(InputError):
    """Weights do not have the names, shapes or values that the model needs."""


class Handed(list[FloatArray]):
    """Weights that the caller does not use again: whoever gets them may change the arrays.

    A large model is then in memory once, and not once for each that might change it.
    """


class Trainer(Protocol):
    """Trains and evaluates one model on one set of rows.

    `weights` is a list of float32 arrays in the order of the manifest's tensors; it is never
    changed in place. `config` has the manifest's `training` section, `seed` (see `Settings`), and
    `round`, the number of the round, from 1: a schedule is a function of it.
    """

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights`; return the new weights, the number of rows, and metrics.

        The optimizer state is reset in every call (docs/protocol.md, section 3), so the result
        depends only on the weights, the rows and the config.
        """
        ...

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Return the mean loss over the trainer's test rows, the number of them, and metrics."""
        ...


class Originator(Trainer, Protocol):
    """A trainer that can also define a new federation's model, for `flo manifest create`."""

    def initial_weights(self) -> Mapping[str, FloatArray]:
        """Names and initial values of the model's tensors, in the order of `fit`'s weights."""
        ...


class WeightSpec(NamedTuple):
    """Name and shape of one tensor of a model; a manifest lists them in order."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """The training settings of one call of `fit`.

    `epochs` is the number of passes over the party's own rows. `steps`, if given, replaces it by a
    number of optimizer steps, which go through the rows epoch after epoch. `optimizer` and `loss`
    are None if the config leaves the choice to the trainer. `proximal_mu` is FedProx's mu (Li et
    al. 2020), or 0: the objective then has the term mu/2 |w - w0|^2 more, where w0 are the weights
    that the fit started from.
    """

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    steps: int | None = None
    optimizer: str | None = None
    loss: str | None = None
    proximal_mu: float = 0.0

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Settings:
        """Read a config: the manifest's `training` keys, `seed`, and optionally `steps`.

        Raises:
            BadTrainingConfig: a setting is missing, or has a wrong type or range.
        """
        steps = config.get("steps")
        rate = config.get("learningRate")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < np.inf:
            raise BadTrainingConfig(
                f"The learning rate is {rate!r}.", "Give `learningRate` a number above zero."
            )
        return cls(
            seed=_integer(config, "seed", minimum=0),
            epochs=_integer(config, "epochs", minimum=1),
            batch_size=_integer(config, "batchSize", minimum=1),
            learning_rate=float(rate),
            steps=None if steps is None else _integer(config, "steps", minimum=1),
            optimizer=config.get("optimizer"),
            loss=config.get("loss"),
            proximal_mu=_proximal_mu(config.get("proximalMu")),
        )

    @property
    def proximal_share(self) -> float:
        """What a proximal step leaves of the distance to w0.

        A trainer takes one after each step of its optimizer, with the nominal learning rate:
        w = w0 + (w - w0) / (1 + rate mu). This minimizes mu/2 |w - w0|^2 + |w - w'|^2 / (2 rate),
        where w' is what the optimizer made. To first order it is the gradient of FedProx's term,
        but no mu makes it swing, and no framework needs a loss of its own.
        """
        return 1.0 / (1.0 + self.learning_rate * self.proximal_mu)

    def pull(
        self, weights: Sequence[NDArray[Any]], start: Sequence[NDArray[Any]], steps: int = 1
    ) -> None:
        """Take so many proximal steps in place; without mu nothing changes."""
        if self.proximal_mu:
            moved = 1.0 - self.proximal_share**steps
            for now, first in zip(weights, start, strict=True):
                now += moved * (first - now)

    def steps_for(self, rows: int) -> int:
        """The number of optimizer steps of one `fit` over `rows` rows."""
        return self.steps or self.epochs * -(-rows // self.batch_size)

    def batches(self, rows: int) -> Iterator[NDArray[np.int64]]:
        """Yield the indices of the rows of each optimizer step.

        Every epoch is a new permutation of all rows, cut into batches of `batch_size`; the last
        batch has the remaining rows. The batches depend only on the seed.
        """
        shuffle = np.random.Generator(np.random.PCG64(self.seed))
        left = self.steps_for(rows)
        while left > 0:
            order = shuffle.permutation(rows)
            starts = range(0, rows, self.batch_size)[:left]
            yield from (order[start : start + self.batch_size] for start in starts)
            left -= len(starts)


def training_seed(run_seed: int, party: str, round_number: int) -> int:
    """A 64-bit seed for one party's training in one round (docs/protocol.md, section 3).

    It uses no value from the chain, so nobody can influence training by the choice of a block.
    """
    text = f"fl-orchestrator training seed\n{run_seed}\n{round_number}\n{party}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def check_weights(weights: Sequence[FloatArray], tensors: Sequence[WeightSpec]) -> None:
    """Check that weights have the number, the shapes and the dtype of `tensors`.

    Raises:
        BadWeights: with the name of the first tensor that differs.
    """
    if len(weights) != len(tensors):
        raise BadWeights(
            f"The model has {len(tensors)} tensors, but {len(weights)} were given.",
            "Give one array for each tensor of the manifest, in its order.",
        )
    for array, tensor in zip(weights, tensors, strict=True):
        if array.shape != tensor.shape or array.dtype != np.float32:
            raise BadWeights(
                f"Tensor {tensor.name} is {array.dtype} {array.shape}, not float32 {tensor.shape}.",
                "Use weights of the model that the manifest describes.",
            )


def _proximal_mu(value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < np.inf:
        raise BadTrainingConfig(
            f"The training setting `proximalMu` is {value!r}.",
            "Give it a number above zero, or leave it out.",
        )
    return float(value)


def _integer(config: dict[str, Any], key: str, minimum: int) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise BadTrainingConfig(
            f"The training setting `{key}` is {value!r}.",
            f"Give it a whole number of at least {minimum}.",
        )
    return value
