"""Warnings about a model's numbers: of an update, of a global state, of the updates' weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.log import get_logger
from fl_orchestrator.model.fixed_point import UpdateEncoding
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.protocol import MAX_WEIGHT
from fl_orchestrator.roles.monitor import Monitor

_log = get_logger(__name__)

#: The fractions of clipped values, of an update or of one tensor, from which there is a warning,
#: and from which the update no longer represents the training.
CLIPPED_NOTED: Final = 0.01
CLIPPED_WRONG: Final = 0.1
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning about an update. A ``serious`` one makes the update useless."""

    message: str
    serious: bool


def update_findings(
    manifest: Manifest, encoded: UpdateEncoding, samples: int
) -> tuple[Finding, ...]:
    """The warnings about an update's numbers and its weight."""
    found = [_emptiness(encoded), _clipping(encoded), _weight(manifest, samples)]
    if not encoded.is_zero and encoded.coarse:
        found.append(
            Finding(
                f"All that training changed in {named(encoded.coarse)} rounds to zero: the quantum "
                "is too coarse. A new federation needs larger offsets there.",
                serious=False,
            )
        )
    return tuple(finding for finding in found if finding)


def _emptiness(encoded: UpdateEncoding) -> Finding | None:
    if not encoded.is_zero:
        return None
    if any(tensor.changed for tensor in encoded.tensors):
        why = "all that training changed rounds to zero, so the quantum is too coarse"
    else:
        why = "training changed nothing, so nothing was learnt"
    return Finding(f"The update is zero everywhere: {why}.", serious=True)


def _clipping(encoded: UpdateEncoding) -> Finding | None:
    shares = {t.name: t.clipped / t.size for t in encoded.tensors if t.clipped}
    worst = max([encoded.clipped, *shares.values()])
    if worst < CLIPPED_NOTED:
        return None
    tensors = [name for name, share in shares.items() if share >= CLIPPED_NOTED]
    return Finding(
        f"{encoded.clipped:.1%} of the update's values were out of range and clipped, up to "
        f"{worst:.1%} of a tensor: {named(tensors)}. Train in smaller steps; a new federation "
        "needs fewer fraction bits, or smaller offsets there.",
        serious=worst >= CLIPPED_WRONG,
    )


def _weight(manifest: Manifest, samples: int) -> Finding | None:
    if manifest.noise is not None:
        return None
    each = manifest.samples_per_weight
    if samples > each * MAX_WEIGHT:
        return Finding(
            f"The weight is at its most, {MAX_WEIGHT}: {samples:,} rows count as "
            f"{each * MAX_WEIGHT:,}, as samplesPerWeight is {each:,}.",
            serious=False,
        )
    if samples < each and each > 1:
        return Finding(
            f"The weight is at its least, 1: {samples:,} rows count as {each:,}, which is "
            "samplesPerWeight. Sites smaller than that all weigh the same.",
            serious=False,
        )
    return None


def weights_finding(weights: Sequence[int]) -> str | None:
    """A warning if the weights of a round's updates show that samplesPerWeight does not fit."""
    at_most = sum(weight == MAX_WEIGHT for weight in weights)
    if at_most:
        return (
            f"{at_most} of {len(weights)} updates have the largest weight, {MAX_WEIGHT}: "
            "samplesPerWeight is too small for these sites, and their sizes do not count in full"
        )
    if len(weights) > 1 and all(weight == 1 for weight in weights):
        return (
            f"all {len(weights)} updates have the least weight, 1: samplesPerWeight may be too "
            "large for these sites, and their sizes do not count"
        )
    return None


class SaturationAlert:
    """Logs once which tensors of the global state have reached the end of their range."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._told: tuple[str, ...] = ()

    def look(self, round_number: int, tensors: tuple[str, ...]) -> None:
        """Process the saturated tensors of the global state of a round."""
        self._monitor.saturated(tensors)
        if tensors and tensors != self._told:
            _log.error(
                "alert: the global model has values at the end of its range, where they stop",
                round=round_number,
                tensors=list(tensors),
                advice="a new federation needs smaller offsets there",
            )
        self._told = tensors


def named(tensors: Sequence[str]) -> str:
    """The tensors as a list in a sentence."""
    more = len(tensors) - _MOST_NAMED
    shown = ", ".join(tensors[:_MOST_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
