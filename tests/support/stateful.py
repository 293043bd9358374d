"""A trainer that keeps a counter and a personal bias at its site, and whose update shows both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.model.manifest import LocalTensor, Manifest, TensorSpec
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights, tensors
from fl_orchestrator.training.site.state import SiteState
from fl_orchestrator.training.trainer import FloatArray, Metrics
from support.federation import CLASSES, FEATURES, small_manifest

KERNEL, BIAS = tensors(FEATURES, CLASSES)


def personal_manifest() -> Manifest:
    """The small model; its bias stays at each site."""
    return small_manifest(
        tensors=(TensorSpec(name=KERNEL.name, shape=KERNEL.shape),),
        local=(LocalTensor(name=BIAS.name, position=1, shape=BIAS.shape),),
    )


def federated_weights() -> list[FloatArray]:
    """The first weights of what the parties of `personal_manifest` share."""
    return initial_weights(FEATURES, CLASSES)[:1]


class Counting(NumpyLogistic):
    """Adds the number of its earlier fits to every weight, a hundredth for each."""

    fits = 0

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        trained, rows, metrics = super().fit(weights, config)
        moved = [array + np.float32(self.fits / 100) for array in trained]
        self.fits += 1
        return moved, rows, metrics

    def initial_weights(self) -> dict[str, NDArray[np.float32]]:
        return dict(zip((KERNEL.name, BIAS.name), initial_weights(FEATURES, CLASSES), strict=True))

    def site_state(self) -> SiteState:
        return {"fits": np.array(self.fits)}

    def restore_site_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.fits = int(state.get("fits", np.array(0)))
