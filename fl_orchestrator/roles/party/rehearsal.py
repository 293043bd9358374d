"""A rehearsal of one round on a party's real data; nothing leaves the site."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.model.fixed_point import (
    encode_update,
    float_view,
    next_state,
    update_weight,
)
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta, in_blocks, write_vector
from fl_orchestrator.roles.numbers import Finding, update_findings
from fl_orchestrator.training.site.state import restore, state_of
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer

#: The origin of an update that belongs to no federation.
OFFLINE: Final = VectorMeta(VectorKind.UPDATE, 0, "0x" + "0" * 40, 1)


@dataclass(frozen=True, slots=True)
class TrialTraining:
    """What one call of a trainer's `fit` gave, and how many seconds it took."""

    weights: list[FloatArray]
    samples: int
    metrics: Metrics
    seconds: float


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a round would do. ``before`` and ``after`` have the loss and metrics of `evaluate`.

    ``after`` is the next global model if this were the only update. ``largest`` is, for each
    tensor, the largest change of a value, and ``limits`` what its update can express. ``findings``
    are what is wrong with the update's numbers, or with its weight.
    """

    training: TrialTraining
    weight: int
    clipped: float
    findings: tuple[Finding, ...]
    largest: tuple[float, ...]
    limits: tuple[float, ...]
    before: Metrics
    after: Metrics
    test_rows: int
    file_bytes: int
    cid: Cid
    root: bytes


def train(trainer: Trainer, weights: list[FloatArray], config: dict[str, Any]) -> TrialTraining:
    """Time one call of `fit`; raises what the trainer does."""
    started = time.monotonic()
    trained, samples, metrics = trainer.fit(weights, config)
    return TrialTraining(trained, samples, metrics, time.monotonic() - started)


def rehearse(
    trainer: Trainer,
    manifest: Manifest,
    state: NDArray[np.int32],
    training: TrialTraining,
    meta: VectorMeta,
    file: Path,
) -> Rehearsal:
    """Write to ``file`` the update that a training from the global ``state`` would publish.

    The trainer is in its state after that training; for ``before`` it has the state of a new one.
    Raises WeightsError and NotFiniteError where there is no update to make of it, and what the
    trainer raises.
    """
    layout, bits = manifest.layout, manifest.update_fraction_bits
    base = float_view(layout, state)
    encoded = encode_update(layout, bits, training.weights, state)
    with file.open("w+b") as stream:
        root = write_vector(stream, layout, meta, in_blocks(encoded.vector)).root
        stream.seek(0)
        cid = cid_of(stream)
    moved = float_view(layout, next_state(state, encoded.vector, bits))
    kept = state_of(trainer)
    restore(trainer, {})
    before, rows = evaluation(trainer, manifest, base)
    restore(trainer, kept)
    after, _ = evaluation(trainer, manifest, moved)
    return Rehearsal(
        training=training,
        weight=update_weight(manifest, training.samples),
        clipped=encoded.clipped,
        findings=update_findings(manifest, encoded.encoding, training.samples),
        largest=tuple(
            float(np.abs(new.astype(np.float64) - old).max(initial=0))
            for new, old in zip(training.weights, base, strict=True)
        ),
        limits=tuple(2.0 ** (15 - bits - tensor.offset) for tensor in layout.tensors),
        before=before,
        after=after,
        test_rows=rows,
        file_bytes=file.stat().st_size,
        cid=cid,
        root=root,
    )


def training_config(manifest: Manifest, seed: int, round_number: int = 1) -> dict[str, Any]:
    """The config of `fit` and `evaluate`; a rehearsal is one of the first round."""
    training = manifest.training.model_dump(by_alias=True, exclude_none=True)
    return {**training, "seed": seed, "round": round_number}


def evaluation(
    trainer: Trainer, manifest: Manifest, weights: list[FloatArray], round_number: int = 1
) -> tuple[Metrics, int]:
    """The loss and metrics of weights, by their names, and on how many rows; nothing on none."""
    loss, rows, metrics = trainer.evaluate(weights, training_config(manifest, 0, round_number))
    return ({"loss": loss, **metrics} if rows else {}), rows
