"""A compiled model's optimizers and loss: their names, and their state at the start of a fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from fl_orchestrator.training.trainer import BadTrainingConfig, Settings

#: What a manifest says of a loss that has no name of its own: the trainers' models have it.
CUSTOM: Final = "custom"


class OptimizerStates:
    """The optimizers of a model, each of which starts every fit without a past."""

    def __init__(self, keras: Any, model: Any) -> None:
        self._keras = keras
        self._model = model
        if model.optimizer is not None:
            model.optimizer.build(model.trainable_variables)
        # A train_step of a user may have more optimizers, as that of a GAN has.
        found = [value for value in vars(model).values() if isinstance(value, keras.Optimizer)]
        self._all = list({id(each): each for each in (model.optimizer, *found) if each}.values())
        self._fresh: dict[int, list[Any]] = {}
        for optimizer in self._all:
            if optimizer.built:
                self._fresh[id(optimizer)] = [v.numpy() for v in optimizer.variables]

    def forget(self) -> None:
        """Let every optimizer start without a past."""
        for optimizer in self._all:
            if optimizer.built:
                for variable, value in zip(
                    optimizer.variables, self._first_values(optimizer), strict=True
                ):
                    variable.assign(value)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate, unless the model was compiled with a schedule."""
        main = inner(self._model.optimizer)
        if main is not None and not self._has_schedule(main):
            main.learning_rate = rate

    def finish(self) -> None:
        """Let an optimizer that keeps an average of the weights put it into the model."""
        if self._model.optimizer is not None:
            self._model.optimizer.finalize_variable_values(self._model.trainable_variables)

    def _first_values(self, optimizer: Any) -> list[Any]:
        """The values when the optimizer was built; a twin has them, if that was in a training."""
        if id(optimizer) not in self._fresh:
            twin = type(optimizer).from_config(optimizer.get_config())
            twin.build(optimizer._trainable_variables)
            self._fresh[id(optimizer)] = [v.numpy() for v in twin.variables]
        return self._fresh[id(optimizer)]

    def _has_schedule(self, optimizer: Any) -> bool:
        # The public property returns the current rate; only this attribute has the schedule.
        rate = getattr(optimizer, "_learning_rate", None)
        return isinstance(rate, self._keras.optimizers.schedules.LearningRateSchedule)


def inner(optimizer: Any) -> Any:
    """The optimizer that the user chose: mixed precision wraps it in one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def require_compiled_as(keras: Any, model: Any, settings: Settings) -> None:
    """Check that the model was compiled with the settings' optimizer and loss.

    Several outputs may have one loss for all, or names with commas in the outputs' order.

    Raises:
        BadTrainingConfig: it was not.
    """
    find_loss, find_optimizer = keras.losses.get, keras.optimizers.get
    if settings.optimizer is not None and model.optimizer is not None:
        compiled = canonical(inner(model.optimizer), find_optimizer)
        if canonical(settings.optimizer, find_optimizer) != compiled:
            raise _differs(settings.optimizer, compiled)
    if settings.loss is not None:
        names = losses(keras, model)
        asked = [canonical(part.strip(), find_loss) for part in settings.loss.split(",")]
        if asked != names and (len(asked) > 1 or {*names} != {*asked}):
            raise _differs(settings.loss, ", ".join(names))


def losses(keras: Any, model: Any) -> list[str]:
    """The names of the losses of a model's outputs, in their order."""
    loss = model.loss
    if isinstance(loss, Mapping):
        order = getattr(model, "output_names", None) or list(loss)
        loss = [loss[name] for name in order if name in loss]
    parts = loss if isinstance(loss, list | tuple) else [loss]
    return [canonical(part, keras.losses.get) for part in parts if part is not None] or [CUSTOM]


def canonical(identifier: Any, find: Callable[[Any], Any]) -> str:
    """The name of an optimizer or a loss that is given by name, alias, object or function."""
    try:
        found = find(identifier)
    except (ValueError, TypeError):
        return str(identifier).lower()
    name = getattr(found, "__name__", None) or type(found).__name__
    if name == "<lambda>":
        return CUSTOM
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _differs(asked: str, compiled: str) -> BadTrainingConfig:
    return BadTrainingConfig(
        f"The training settings ask for {asked}, but the model has {compiled}.",
        "Compile the model as its manifest says.",
    )
