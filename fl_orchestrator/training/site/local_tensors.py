"""Keeps at the site the tensors that a manifest calls local, at one place for all trainers.

The trainer gets and returns its full list of tensors. The federation sees only the others. Uses:
the statistics of batch normalisation (FedBN, arXiv:2102.07623), personal heads
(arXiv:1912.00818), and integer counters.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError, TrainingError
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.training.site.state import SiteState, restore, state_of
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer, WeightSpec

# The names in the state: tensors begin with the first, what the trainer itself keeps with the
# second.
_TENSOR: Final = "tensor/"
_TRAINER: Final = "trainer/"


class BadLocalTensors(InputError):
    """A pattern that keeps nothing or everything at the site, or a trainer without first values."""


class LocalDiverged(TrainingError):
    """A tensor that stays at the site became NaN or infinite."""


class LocalTensors:
    """The trainer of the federated tensors of a model, of which others stay at the site.

    ``initial`` are the first values of the model's tensors by name; those of the local ones are
    used until a state is restored.
    """

    def __init__(
        self, trainer: Trainer, manifest: Manifest, initial: Mapping[str, NDArray[Any]]
    ) -> None:
        self._trainer = trainer
        self._specs = manifest.local or ()
        self._first = {spec.name: np.array(initial[spec.name]) for spec in self._specs}
        self._now = self._first

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train the whole model from the federation's tensors and the site's own.

        Raises:
            LocalDiverged: a local tensor is not finite.
        """
        trained, samples, metrics = self._trainer.fit(self.whole(weights), config)
        own = {spec.name: trained[spec.position] for spec in self._specs}
        for name, array in own.items():
            if not np.isfinite(array).all():
                raise LocalDiverged(
                    f"The local tensor {name!r} has NaN or infinite values.",
                    "Training diverged: lower the learning rate, or scale the features.",
                )
        self._now = own
        places = {spec.position for spec in self._specs}
        shared = [array for place, array in enumerate(trained) if place not in places]
        return shared, samples, metrics

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        return self._trainer.evaluate(self.whole(weights), config)

    def site_state(self) -> SiteState:
        own = {_TENSOR + name: array for name, array in self._now.items()}
        return own | {_TRAINER + name: array for name, array in state_of(self._trainer).items()}

    def restore_site_state(self, state: SiteState) -> None:
        kept = _below(_TENSOR, state)
        self._now = {name: kept.get(name, first) for name, first in self._first.items()}
        restore(self._trainer, _below(_TRAINER, state))

    def whole(self, weights: Sequence[FloatArray]) -> list[NDArray[Any]]:
        """All tensors of the model in the trainer's order: the federation's and the site's."""
        tensors: list[NDArray[Any]] = list(weights)
        for spec in self._specs:
            tensors.insert(spec.position, self._now[spec.name])
        return tensors


def federated(trainer: Trainer, manifest: Manifest) -> Trainer:
    """The trainer of the manifest's tensors; the trainer itself if none stays at the site.

    Raises:
        BadLocalTensors: the trainer does not say the first values of the local tensors.
    """
    if not manifest.local:
        return trainer
    method = getattr(trainer, "initial_weights", None)
    initial = method() if method is not None else None
    for spec in manifest.local:
        if initial is None or spec.name not in initial:
            raise BadLocalTensors(
                f"The tensor {spec.name!r} stays at each site, and the trainer does not say with "
                "which values it begins.",
                "Give the trainer a method initial_weights() that returns arrays by name; for a "
                "Flower app --initial.",
            )
        if initial[spec.name].shape != spec.shape:
            raise BadLocalTensors(
                f"The trainer's tensor {spec.name!r} has the shape {initial[spec.name].shape}, not "
                f"{spec.shape}.",
                "Build the model that the manifest describes.",
            )
    return LocalTensors(trainer, manifest, initial or {})


def model_specs(manifest: Manifest) -> list[WeightSpec]:
    """Names and shapes of all tensors of the trainer's model, in its order."""
    return [WeightSpec(tensor.name, tensor.shape) for tensor in manifest.model_tensors]


def names_matching(patterns: Iterable[str], names: Sequence[str]) -> frozenset[str]:
    """The names that match a glob, with ``*``, ``?`` and ``[...]``; case counts.

    Raises:
        BadLocalTensors: a pattern matches nothing, or nothing is left for the federation.
    """
    found: set[str] = set()
    for pattern in patterns:
        matching = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            raise BadLocalTensors(
                f"No tensor of the model matches --local {pattern!r}.",
                f"The model has {', '.join(names)}.",
            )
        found.update(matching)
    if len(found) == len(names):
        raise BadLocalTensors(
            "With --local every tensor of the model stays at the site, and there is nothing to "
            "train together.",
            f"Leave out a pattern; the model has {', '.join(names)}.",
        )
    return frozenset(found)


def _below(prefix: str, state: SiteState) -> SiteState:
    """The part of a state whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }
