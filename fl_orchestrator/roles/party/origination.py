"""The manifest of a new federation, whose scales are measured by trial trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.fixed_point import NotFiniteError, WeightsError
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest, ManifestError
from fl_orchestrator.model.protocol import MAX_WEIGHT
from fl_orchestrator.model.rules import chunk_norm_limit
from fl_orchestrator.model.scaling import DEFAULT_FRACTION_BITS, Scaling, choose_scaling
from fl_orchestrator.roles.numbers import named
from fl_orchestrator.roles.party.rehearsal import TrialTraining, train, training_config
from fl_orchestrator.training.trainer import FloatArray, Trainer

# A site with ten times the rows still has a weight in proportion to them.
_LARGER_SITES: Final = 10
#: What is described beside the manifest's fields: the norm that `chunk_norm_limit` takes, or None.
CLIP_NORM: Final = "clip_norm"


class Impossible(InputError):
    """The options describe a model that no federation can have."""


@dataclass(frozen=True, slots=True)
class Originated:
    """A manifest, the weights that the federation starts from, and the trial trainings.

    ``trainers`` are those of the trial trainings, of the manifest's tensors alone.
    """

    manifest: Manifest
    first: list[FloatArray]
    trainers: list[Trainer]
    trials: list[TrialTraining]


def originate(
    trainers: Sequence[Trainer],
    described: Mapping[str, Any],
    initial: Mapping[str, FloatArray],
    *,
    max_clipped: float,
    fraction_bits: int | None = None,
    wrap: Callable[[Trainer, Manifest], Trainer] = lambda trainer, _draft: trainer,
) -> Originated:
    """The manifest of a model, measured by one training of each trainer from ``initial``.

    ``described`` has the manifest's fields that nobody has to measure, and ``CLIP_NORM`` where
    chunks are clipped, since their limit depends on the scales. Without its
    ``samples_per_weight``, ten times the rows of the largest trial have a weight in proportion.
    ``wrap`` gives the trainer of the manifest's tensors, of which ``initial`` has no others, where
    a trainer has more (`federated`). The draft it gets has scales that are not measured.

    Raises:
        Impossible: the description is no manifest; nothing was trained.
        WeightsError: a tensor is not floating-point; nothing was trained.
        NotFiniteError: a training diverged.
        UnusableClip: the fraction bits that were measured have no such limit.
    """
    _require_floats(initial)
    first = list(initial.values())
    # Check the description before the training, which may take long.
    neutral = Scaling(DEFAULT_FRACTION_BITS, (0,) * len(first))
    draft = _describe(described, initial, neutral, samples=1)
    wrapped = [wrap(trainer, draft) for trainer in trainers]
    trials = [train(trainer, first, training_config(draft, 0)) for trainer in wrapped]
    for trial in trials:
        _require_finite(trial.weights, initial)
    before = [np.concatenate([array.ravel()] * len(trials)) for array in first]
    after = [
        np.concatenate([trial.weights[i].ravel() for trial in trials]) for i in range(len(first))
    ]
    scaling = choose_scaling(before, after, max_clipped, fraction_bits)
    most = max(trial.samples for trial in trials)
    manifest = _describe(described, initial, scaling, most, described.get(CLIP_NORM))
    return Originated(manifest, first, wrapped, trials)


def _require_floats(initial: Mapping[str, FloatArray]) -> None:
    for name, array in initial.items():
        if array.dtype.kind != "f":
            raise WeightsError(
                f"The tensor {name!r} is {array.dtype}: only floating-point tensors are averaged.",
                f"Keep it at each site: `flo manifest create --local '{name}'`.",
            )


def _require_finite(trained: list[FloatArray], initial: Mapping[str, FloatArray]) -> None:
    ruined = [
        name for name, array in zip(initial, trained, strict=True) if not np.isfinite(array).all()
    ]
    if ruined:
        raise NotFiniteError(
            f"The trial training diverged: {named(ruined)} came back with NaN or infinite values, "
            "so there is nothing to measure the scales by.",
            "Lower the learning rate (--learning-rate), or scale the features; then run it again.",
        )


def _describe(
    described: Mapping[str, Any],
    initial: Mapping[str, FloatArray],
    scaling: Scaling,
    samples: int,
    clip_norm: float | None = None,
) -> Manifest:
    described = {name: value for name, value in described.items() if name != CLIP_NORM}
    if clip_norm is not None:
        limit = chunk_norm_limit(clip_norm, scaling.fraction_bits)
        described["rule"] = described["rule"].model_copy(update={"chunk_norm_limit": limit})
    shapes = [(name, array.shape) for name, array in initial.items()]
    packed = described["layout_kind"] == "packed"
    layout = Layout.of(((name, shape, 0) for name, shape in shapes), packed=packed)
    per_weight = described["samples_per_weight"] or -(-_LARGER_SITES * samples // MAX_WEIGHT)
    try:
        return Manifest(
            **{
                **described,
                "samples_per_weight": per_weight,
                "update_fraction_bits": scaling.fraction_bits,
                "depth": layout.depth,
                "tensors": [
                    {"name": name, "shape": shape, "offset": offset}
                    for (name, shape), offset in zip(shapes, scaling.offsets, strict=True)
                ],
            }
        )
    except ManifestError as error:
        raise Impossible(error.message, "Change the option of that name.") from error
