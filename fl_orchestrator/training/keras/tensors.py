"""The tensors of a Keras model that parties average: their names, and how values go in and out."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final, cast

import numpy as np

from fl_orchestrator.errors import TrainingError
from fl_orchestrator.log import get_logger
from fl_orchestrator.training.trainer import BadWeights, FloatArray, WeightSpec, check_weights

_log = get_logger(__name__)

_NUMBER: Final = re.compile(r"_\d+$")
# Wrappers name their copies after the layer that they wrap.
_WRAPPED: Final = re.compile(r"^(forward|backward)_")


# The first values of a model of more parameters wait on the disk: they are rarely needed again.
_MOST_IN_MEMORY: Final = 1 << 22


class ModelChanged(TrainingError):
    """A model no longer has the tensors that it had when its trainer was made."""


class NoRoomForWeights(TrainingError):
    """The temporary directory has no room for the first weights of a large model."""


def federated_variables(model: Any) -> list[Any]:
    """The weights of a model that parties average: its floats, but not integers such as counters.

    They are in the model's order.
    """
    return [w for w in model.weights if str(w.dtype).startswith(("float", "bfloat"))]


def tensor_specs(model: Any) -> tuple[WeightSpec, ...]:
    """Names (`layer/kernel`) and shapes of a model's federated weights, in the model's order.

    A layer's own name is kept. Names that Keras generates (`dense_7`) count all layers of the
    process; they are numbered anew by the layer's place among those of its class, as Keras would
    number them in a new process. Two tensors of one name get a number at the end.

    Raises:
        BadWeights: the model has no weights yet.
    """
    weights = federated_variables(model)
    if not weights:
        raise BadWeights(
            "The model has no weights yet.",
            "Build it before use: give it an Input, or call it on a batch.",
        )
    bases = {*_generated_bases(model), "variable"}  # the name of a variable that has none
    numbers: dict[tuple[str, str], dict[str, int]] = {}
    specs: list[WeightSpec] = []
    taken: set[str] = set()
    for weight in weights:
        name = _renumbered(weight.path.removeprefix(f"{model.name}/"), bases, numbers)
        unique, count = name, 0
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique)
        specs.append(WeightSpec(unique, tuple(weight.shape)))
    return tuple(specs)


def output_names(model: Any) -> dict[str, str]:
    """A model's names of several outputs, by which it calls metrics, and those to use for them.

    Like the names of tensors, generated ones are numbered anew, in the order of the outputs.
    """
    bases = _generated_bases(model)
    numbers: dict[tuple[str, str], dict[str, int]] = {}
    own = getattr(model, "output_names", None) or []
    return {name: _renumbered(name, bases, numbers) for name in own} if len(own) > 1 else {}


def _generated_bases(model: Any) -> set[str]:
    """What Keras calls layers without a name, before it adds a number."""
    return {_snake_case(type(layer).__name__) for layer in model._flatten_layers()}


def _renumbered(path: str, bases: set[str], numbers: dict[tuple[str, str], dict[str, int]]) -> str:
    """Number the parts of a path whose names are generated, in their order below each parent."""
    parts: list[str] = []
    for part in path.split("/"):
        base = part if part in bases else _NUMBER.sub("", part)
        if base in bases or _WRAPPED.sub("", base) in bases:
            known = numbers.setdefault(("/".join(parts), base), {})
            number = known.setdefault(part, len(known))
            parts.append(f"{base}_{number}" if number else base)
        else:
            parts.append(part)
    return "/".join(parts)


def _snake_case(name: str) -> str:
    """The name that Keras makes from that of a class: `Conv2DTranspose`, `conv2d_transpose`."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


class FederatedWeights:
    """The values of a model's tensors, as float32 whatever the model computes with.

    Integer weights, such as a layer's count of rows, keep their first values.
    """

    def __init__(self, model: Any) -> None:
        """Raises BadWeights: the model has no weights yet; and NoRoomForWeights."""
        self._model = model
        self.tensors = tensor_specs(model)
        self.variables = federated_variables(model)
        federated = {id(variable) for variable in self.variables}
        self._local = [(v, v.numpy()) for v in model.weights if id(v) not in federated]
        # A layer that was adapted computes with copies of its statistics.
        self._adapted = [
            layer
            for layer in model._flatten_layers()
            if callable(getattr(layer, "finalize_state", None)) and layer.weights
        ]
        statistics = {id(v) for layer in self._adapted for v in layer.weights}
        self._statistics = [id(v) in statistics for v in self.variables]
        self._variances = [
            v.path.endswith("moving_variance") or (own and v.path.endswith("variance"))
            for v, own in zip(self.variables, self._statistics, strict=True)
        ]
        self._initial = _Waiting(self._each())
        if cast := sorted({str(v.dtype) for v in self.variables} - {"float32"}):
            _log.warning(
                "the model's weights are cast: a federation has float32",
                dtype=", ".join(cast),
                first=next(v.path for v in self.variables if str(v.dtype) == cast[0]),
            )

    @property
    def initial(self) -> list[FloatArray]:
        """The first weights, as float32."""
        return self._initial.arrays()

    def read(self) -> list[FloatArray]:
        """Copies of the weights, as float32."""
        return [*self._each()]

    def _each(self) -> Iterator[FloatArray]:
        return (np.array(variable.numpy(), np.float32) for variable in self.variables)

    def write(self, weights: list[FloatArray]) -> bool:
        """Set the weights; True if graphs that were traced before compute with old statistics.

        Raises:
            BadWeights: `weights` are not this model's.
            ModelChanged: the model has other tensors than at the start.
        """
        self._require_same_model()
        check_weights(weights, self.tensors)
        stale = False
        for variable, given, variance, statistic in zip(
            self.variables, weights, self._variances, self._statistics, strict=True
        ):
            # Rounding may make a variance slightly negative; its square root would then be NaN.
            value = np.maximum(given, 0) if variance else given
            stale |= statistic and not np.array_equal(variable.numpy(), value)
            variable.assign(value)
        for variable, value in self._local:
            variable.assign(value)
        if stale:
            for layer in self._adapted:
                layer.finalize_state()
        return stale

    def _require_same_model(self) -> None:
        now = federated_variables(self._model)
        shapes = [tuple(variable.shape) for variable in now]
        then = [tensor.shape for tensor in self.tensors]
        if shapes != then or any(a is not b for a, b in zip(now, self.variables, strict=True)):
            raise ModelChanged(
                f"The model had {len(then)} tensors {_listed(then)} and has now {len(shapes)} "
                f"{_listed(shapes)}: a federation trains one model in all its rounds.",
                "Build the whole model before its trainer, and do not change layers afterwards.",
            )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return f"({', '.join(map(str, shapes[:4]))}{', …' if len(shapes) > 4 else ''})"


class _Waiting:
    """Arrays that are rarely needed again: many values wait in a temporary file, without a name.

    Raises NoRoomForWeights.
    """

    def __init__(self, arrays: Iterable[FloatArray]) -> None:
        self._in_memory: list[FloatArray] = []
        self._on_disk: list[tuple[int, ...]] = []
        self._file: BinaryIO | None = None
        held = 0
        for array in arrays:
            held += array.size
            if held <= _MOST_IN_MEMORY:
                self._in_memory.append(array)
                continue
            try:
                if self._file is None:
                    self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115
                self._file.write(np.ascontiguousarray(array).data)
                self._file.flush()
            except OSError as error:
                raise NoRoomForWeights(
                    "The first weights of the model do not fit into the temporary directory "
                    f"{tempfile.gettempdir()}: {error.strerror or error}.",
                    "Free some space, or set TMPDIR to another directory.",
                ) from error
            self._on_disk.append(array.shape)

    def arrays(self) -> list[FloatArray]:
        found = list(self._in_memory)
        if self._file is not None:
            self._file.seek(0)
            for shape in self._on_disk:
                values = np.fromfile(self._file, np.float32, int(np.prod(shape)))
                found.append(values.reshape(shape))
        return found
