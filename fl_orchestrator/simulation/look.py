"""What a reader of the store learns of one party: in a plain federation, and in a private one.

One party has a single training row. After one step of SGD its update is a multiple of
(p - y) * x for the weights of each class, and the same multiple of (p - y) for the bias: their
quotient is the row. The reader uses nothing but the chain's events and the bytes in the store.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import VectorReader, read_vector
from fl_orchestrator.privacy.seal import seal_bytes
from fl_orchestrator.roles.masked.rounds import MaskedRounds
from fl_orchestrator.roles.masked.terms import PrivateTerms, for_private
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.roles.vectors import Origin
from fl_orchestrator.simulation.options import Options, manifest_for
from fl_orchestrator.simulation.simulation import Shape, Simulation
from fl_orchestrator.training import datasets, scales
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights
from fl_orchestrator.training.tasks import CATEGORICAL, TrainingPlan, task_named

_TASK: Final = "breast-cancer"
_PARTIES: Final = 5
_AGGREGATORS: Final = 4
_TRAINING: Final = TrainingPlan(1, 8, 0.1, "sgd", CATEGORICAL)
_POSITIVE: Final = 1
# The first columns of the data set.
_FEATURES: Final = ("mean radius", "mean texture", "mean perimeter", "mean area")
_MOST_BYTES: Final = 1 << 20

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of an update, in the scale of float weights, and the row computed of it.

    ``update`` are the changes of the weights of the positive class, one per feature. ``row`` is in
    the units of the data set. The correlations are with the true update and the true scaled row.
    """

    name: str
    update: Vector
    row: Vector
    update_correlation: float
    row_correlation: float


@dataclass(frozen=True, slots=True)
class Look:
    """One party's true update and row, and what a reader of the store has of them.

    ``plain`` and ``private``: from the party's file in the store. ``opened``: from the one sum that
    the private federation opens. ``values`` is the number of values of the model after the round,
    of which ``equal`` are the same in both federations.
    """

    update: Vector
    row: Vector
    plain: Reading
    private: Reading
    opened: Reading
    values: int
    equal: int
    mean: Vector
    scale: Vector
    features: tuple[str, ...] = _FEATURES

    @property
    def readings(self) -> tuple[Reading, Reading, Reading]:
        return self.plain, self.private, self.opened

    def scaled(self, row: Vector) -> Vector:
        """A row as the model has it."""
        return (row - self.mean) / self.scale


def look(directory: Path, seed: int) -> Look:
    """Run one round of the same federation in the clear and in private; read what is stored."""
    rows, test, scale = _rows(seed)
    trainers = [NumpyLogistic(own, 2) for own in rows]
    runs = {
        private: _Run(directory / name, trainers, NumpyLogistic(test, 2), seed, private)
        for name, private in (("plain", False), ("private", True))
    }
    truth = _Truth(runs[False].trained_by(trainers[0]), rows[0].x[0].astype(np.float64), scale)
    clear, masked = (runs[private].model() for private in (False, True))
    return Look(
        update=truth.update,
        row=truth.in_units(truth.row),
        plain=truth.compare("read, plain", runs[False].update()),
        private=truth.compare("read, private", runs[True].update()),
        opened=truth.compare("of the sum", runs[True].step()),
        values=clear.size,
        equal=int(np.count_nonzero(clear == masked)),
        mean=scale[0],
        scale=scale[1],
    )


def _rows(seed: int) -> tuple[list[Rows], Rows, tuple[Vector, Vector]]:
    """The parties' scaled rows, of which the first has one; the test rows, and mean and scale."""
    data, features = datasets.load(_TASK), scales.BREAST_CANCER
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(data.train))
    hands = [order[:1], *np.array_split(order[1:], _PARTIES - 1)]
    train = Rows(features.apply(data.train.x), data.train.y)
    test = Rows(features.apply(data.test.x), data.test.y)
    return (
        [train.take(hand) for hand in hands],
        test,
        (
            np.array(features.mean, np.float64),
            np.array(features.scale, np.float64),
        ),
    )


class _Run:
    """One round of the federation, and what anybody reads of it. The party is number 0."""

    def __init__(
        self,
        directory: Path,
        trainers: list[NumpyLogistic],
        evaluator: NumpyLogistic,
        seed: int,
        private: bool,
    ) -> None:
        task = dataclasses.replace(task_named(_TASK), training=_TRAINING)
        self._start = initial_weights(task.inputs, 2)
        options = Options(_TASK, _PARTIES, _AGGREGATORS, 1, seed=seed, private=private)
        terms = for_private(Terms(_PARTIES, _PARTIES), PrivateTerms())
        shape = Shape(_AGGREGATORS, 1, seed, terms, private=PrivateTerms() if private else None)
        manifest = manifest_for(task, evaluator, options)
        self._simulation = Simulation(directory, manifest, self._start, trainers, shape)
        if not self._simulation.run_round().accepted:
            raise RuntimeError("a round of honest roles was not accepted")

    @property
    def _layout(self) -> Layout:
        return self._simulation.manifest.layout

    def trained_by(self, trainer: NumpyLogistic) -> Vector:
        """The true change of all weights by this trainer, flat."""
        config = self._simulation.manifest.training.model_dump(by_alias=True)
        trained, _, _ = trainer.fit(self._start, {**config, "seed": 0})
        return _flat(trained) - _flat(self._start)

    def model(self) -> Vector:
        """The float weights after the round."""
        return _flat(self._simulation.head_weights())

    def step(self) -> Vector:
        """The change of the model by the round: the weighted mean of all updates."""
        return self.model() - _flat(self._start)

    def update(self) -> Vector:
        """The party's file in the store, read as an update as well as it can be."""
        simulation, federation = self._simulation, self._simulation.federation
        party = simulation.accounts.parties[0].address
        simulation.rounds.search_to(federation.node.block_number)
        reveal = next(r for r in simulation.rounds.updates(1) if r.party == party)
        origin = Origin(federation.chain_id, federation.address)
        store: ContentStore = simulation.store
        with store.get(reveal.cid, _MOST_BYTES) as stream:
            if isinstance(federation, PrivateFederation):
                index = PrivateRoundIndex(federation, 0)
                index.search_to(federation.node.block_number)
                seen = MaskedRounds(federation, index).read(1, federation.params().genesis_root)
                size = seal_bytes(seen.context)
                reader = VectorReader(stream, self._layout, origin.masked(1), seal_bytes=size)
                # In the ring the numbers have no sign; an update's would be small of either sign.
                words = np.concatenate(list(reader.blocks())).astype(np.uint32).view(np.int32)
                values: NDArray[Any] = words / reveal.weight
            else:
                values = read_vector(stream, self._layout, origin.update(1))[1]
        return values / float(1 << simulation.manifest.update_fraction_bits)


class _Truth:
    """The party's true update and scaled row, with which readings are compared."""

    def __init__(self, change: Vector, row: Vector, scale: tuple[Vector, Vector]) -> None:
        self.update, _ = _of_class(change, row.size)
        self.row = row
        self._mean, self._scale = scale

    def in_units(self, row: Vector) -> Vector:
        return row * self._scale + self._mean

    def compare(self, name: str, change: Vector) -> Reading:
        update, bias = _of_class(change, self.row.size)
        row = update / bias
        return Reading(
            name,
            update,
            self.in_units(row),
            _correlation(update, self.update),
            _correlation(row, self.row),
        )


def _of_class(change: Vector, features: int) -> tuple[Vector, float]:
    """The changes of the weights of the positive class, and of its bias."""
    classes = change.size // (features + 1)
    kernel = change[: features * classes].reshape(features, classes)
    return kernel[:, _POSITIVE], float(change[features * classes + _POSITIVE])


def _flat(weights: list[NDArray[np.float32]]) -> Vector:
    return np.concatenate([w.ravel() for w in weights]).astype(np.float64)


def _correlation(a: Vector, b: Vector) -> float:
    return float(np.corrcoef(a, b)[0, 1])
