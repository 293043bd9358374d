"""A party's trainer that drives a Flower `ClientApp`, unmodified and in this process.

No SuperLink, no SuperNode, no socket: each call of `fit` or `evaluate` is one Message to the app,
as Flower's strategies send it. ``context.state`` is the trainer's site state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.flower import records
from fl_orchestrator.training.flower.apps import (
    BadFlowerApp,
    Scalar,
    load_object,
    project_config,
    require_flower,
)
from fl_orchestrator.training.flower.records import Arrays, FlowerFailed
from fl_orchestrator.training.site.state import SiteState
from fl_orchestrator.training.trainer import FloatArray, Metrics, WeightSpec

__all__ = ["FlowerFailed", "FlowerTrainer", "flower_trainer"]

#: The names of a loss in the metrics of `evaluate`, the first that is there counts.
LOSS_NAMES: Final = ("eval_loss", "eval-loss", "loss", "test_loss", "val_loss")
_STATE: Final = "flower-context"
# What apps call the manifest's training settings in their run_config.
_SETTINGS: Final = {
    "epochs": ("local-epochs", "local_epochs", "epochs"),
    "batchSize": ("batch-size", "batch_size"),
    "learningRate": ("learning-rate", "learning_rate", "lr"),
    "proximalMu": ("proximal-mu", "proximal_mu"),
}
# Flower's integers are signed, of 64 bits.
_MOST: Final = (1 << 63) - 1

Initial = Mapping[str, Any] | Sequence[Any]


class FlowerTrainer:
    """Drives a `ClientApp` (see `Trainer`, `Originator` and `Stateful`); `flower_trainer` makes it.

    An app gets and returns arrays by the names of the model's tensors. These come from ``initial``,
    or from the manifest (`use_tensors`); before, they are "0", "1", ….
    """

    def __init__(
        self,
        app: Any,
        node_config: Mapping[str, Scalar],
        run_config: Mapping[str, Scalar],
        given: Mapping[str, Scalar],
        initial: Callable[[], Initial] | None,
    ) -> None:
        """``given`` are settings that come before the manifest's, and those before run_config."""
        self._app = app
        # A ClientApp that was made of a client_fn speaks the messages of NumPyClient.
        self._legacy = app._call is not None
        self._node_config = dict(node_config)
        self._run_config, self._given = dict(run_config), dict(given)
        self._node_id = 2 + int(node_config.get("partition-id", 0))
        self._initial = initial
        self._names: list[str] | None = None
        self._state: NDArray[np.uint8] | None = None

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Send a ``train`` message; the state of the context is kept if the app answers well.

        Raises:
            FlowerFailed: the app answered with an error, or with no model of these tensors.
        """
        names = self._names_of(weights)
        content, context = self._ask("train", weights, config)
        result = records.fit_result(content, self._legacy, names)
        self._state = records.state_bytes(context.state)
        return result

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Send an ``evaluate`` message. What it changes in the state is not kept.

        Raises:
            FlowerFailed: the app answered with an error, or without a loss.
        """
        content, _ = self._ask("evaluate", weights, config)
        return records.evaluate_result(content, self._legacy, LOSS_NAMES)

    def initial_weights(self) -> dict[str, FloatArray] | None:
        """The first values that were given, or those of a `NumPyClient`; None without either.

        Raises:
            FlowerFailed: a `client_fn` app has no get_parameters().
        """
        first = self._initial() if self._initial is not None else self._parameters()
        if first is None:
            return None
        named = _named(first)
        self._names = list(named)
        return named

    def use_tensors(self, tensors: Sequence[WeightSpec]) -> None:
        """Take the names of the model's tensors from the manifest."""
        self._names = [tensor.name for tensor in tensors]

    def site_state(self) -> SiteState:
        """The state of the app's context, serialised by Flower."""
        return {} if self._state is None else {_STATE: self._state}

    def restore_site_state(self, state: SiteState) -> None:
        self._state = state.get(_STATE)

    # ------------------------------------------------------------------ messages

    def _ask(
        self, kind: str, weights: Sequence[NDArray[Any]], config: Mapping[str, Any]
    ) -> tuple[Any, Any]:
        """The records of the app's answer, and the context after it."""
        arrays = dict(zip(self._names_of(weights), weights, strict=True))
        settings = _scalars(config)
        content = records.instruction(arrays, settings, kind, self._legacy)
        context = self._context(config)
        message = records.message_of(content, kind, self._node_id, settings["server-round"])
        return records.content_of(self._app(message, context), kind), context

    def _context(self, config: Mapping[str, Any]) -> Any:
        from flwr.app import Context

        manifest = {
            alias: config[key]
            for key, aliases in _SETTINGS.items()
            for alias in aliases
            if key in config and alias in self._run_config
        }
        return Context(
            run_id=1,
            node_id=self._node_id,
            node_config=dict(self._node_config),
            state=records.state_from(self._state),
            run_config={**self._run_config, **manifest, **self._given},
        )

    def _parameters(self) -> Initial | None:
        """What a `NumPyClient` answers to get_parameters; None of an app of the message API."""
        if not self._legacy:
            return None
        from flwr.common import Code, GetParametersIns, parameters_to_ndarrays
        from flwr.compat.common import recorddict_compat as compat

        content = compat.getparametersins_to_recorddict(GetParametersIns({}))
        message = records.message_of(content, "query.get_parameters", self._node_id, 0)
        message.metadata.message_type = "get_parameters"
        answer = records.content_of(self._app(message, self._context({})), "get_parameters")
        result = compat.recorddict_to_getparametersres(answer, keep_input=True)
        if result.status.code is not Code.OK:
            return None
        arrays: list[NDArray[Any]] = parameters_to_ndarrays(result.parameters)
        return arrays

    def _names_of(self, weights: Sequence[NDArray[Any]]) -> list[str]:
        if self._names is None or len(self._names) != len(weights):
            return [str(number) for number in range(len(weights))]
        return self._names


def flower_trainer(
    app: Any,
    *,
    partition_id: int | None = None,
    num_partitions: int | None = None,
    run_config: Mapping[str, Scalar] | None = None,
    node_config: Mapping[str, Scalar] | None = None,
    initial: Callable[[], Initial] | Initial | str | None = None,
    directory: Path | str = ".",
) -> FlowerTrainer:
    """A trainer of a Flower app: a `ClientApp`, or its name as ``my_app.client_app:app``.

    A name is looked for in ``directory``, and its ``run_config`` begins with what the nearest
    pyproject.toml says (``tool.flwr.app.config``). The federation's epochs, batch size and learning
    rate replace the app's own where these have one of the usual names (``local-epochs``,
    ``batch-size``, ``learning-rate``, ``lr`` and a few more); ``run_config`` replaces both.
    ``node_config`` gets ``partition-id`` and ``num-partitions``.

    A `ClientApp` does not have the first weights of its model. To begin a federation, or to keep
    tensors at the site, give ``initial``: arrays by name (a state_dict or an ArrayRecord too), a
    list of arrays, a function that returns either, or the function's name as
    ``my_app.task:first_arrays``. An app with a `NumPyClient` needs none: it has get_parameters().

    Raises:
        FlowerMissing: flwr is not installed.
        BadFlowerApp: there is no such app, or its settings cannot be read.
    """
    require_flower()
    from flwr.clientapp import ClientApp

    place = Path(directory).resolve()
    settings: dict[str, Scalar] = {}
    if isinstance(app, str):
        settings = project_config(place)
        app, _ = load_object(app, place)
    if not isinstance(app, ClientApp):
        raise BadFlowerApp(
            f"{app!r:.60} is not a Flower ClientApp.", "Name the object that ClientApp() made."
        )
    numbers = {"partition-id": partition_id, "num-partitions": num_partitions}
    node = {**(node_config or {}), **{k: n for k, n in numbers.items() if n is not None}}
    begin = load_object(initial, place)[0] if isinstance(initial, str) else initial
    first = begin if begin is None or callable(begin) else lambda: begin
    given = dict(run_config or {})
    return FlowerTrainer(app, node, {**settings, **given}, given, first)


def _named(first: Initial) -> Arrays:
    """Arrays by their names; without names, by their numbers."""
    items = first.items() if isinstance(first, Mapping) else enumerate(first)
    return {str(name): _array(value) for name, value in items}


def _array(value: Any) -> NDArray[Any]:
    """An array of NumPy, of Flower or of PyTorch."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.array(value.numpy() if hasattr(value, "numpy") else value)


def _scalars(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as Flower's servers send it: scalars only, with ``server-round`` and ``lr``."""
    scalars = {
        key: min(value, _MOST) if isinstance(value, int) else value
        for key, value in config.items()
        if isinstance(value, bool | int | float | str)
    }
    if isinstance(seed := config.get("seed"), int):
        scalars["seed"] = seed & _MOST
    if "learningRate" in scalars:
        scalars["lr"] = scalars["learningRate"]
    if "proximalMu" in scalars:
        # As Flower's FedProx sends it; the second name is that of NumPyClients.
        scalars["proximal-mu"] = scalars["proximal_mu"] = scalars["proximalMu"]
    number = config.get("round", 0)
    scalars["server-round"] = number if isinstance(number, int) else 0
    return scalars
