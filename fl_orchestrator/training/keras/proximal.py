"""FedProx for Keras: after each training step the weights move back towards where they started."""

from __future__ import annotations

from typing import Any

from fl_orchestrator.training.trainer import Settings


class ProximalSteps:
    """The proximal steps of a model (see `Settings.proximal_share`), whatever its own steps are.

    They are part of the model's `train_step`, so graphs and `fit` both have them.
    """

    def __init__(self, tf: Any, model: Any) -> None:
        self._tf, self._model = tf, model
        self._pairs: list[tuple[Any, Any]] = []
        self._share: Any = None

    def begin(self, settings: Settings) -> bool:
        """Start a fit from the model's present weights; return whether steps have changed.

        If they have, what was traced computes other steps.
        """
        trained = self._model.trainable_variables if settings.proximal_mu else []
        changed = [id(variable) for variable, _ in self._pairs] != [id(each) for each in trained]
        if changed:
            self._pairs = [(each, self._constant(each)) for each in trained]
        if self._pairs and self._share is None:
            self._share = self._constant(0.0)
            self._install()
        if self._pairs:
            self._share.assign(settings.proximal_share)
        for variable, start in self._pairs:
            start.assign(variable)
        return changed

    def _constant(self, value: Any) -> Any:
        return self._tf.Variable(value, trainable=False)

    def _install(self) -> None:
        step = self._model.train_step

        def proximal(data: Any) -> Any:
            found = step(data)
            for variable, start in self._pairs:
                share = self._tf.cast(self._share, start.dtype)
                variable.assign(start + share * (variable - start))
            return found

        # Not by Keras's own setattr, which would make it a part of the model.
        object.__setattr__(self._model, "train_step", proximal)
