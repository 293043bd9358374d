"""A federation's model as a file for other programs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fl_orchestrator.errors import TrainingError, install_hint
from fl_orchestrator.training.trainer import FloatArray, WeightSpec
from fl_orchestrator.training.weights_file import save_keras, save_weights

if TYPE_CHECKING:
    from fl_orchestrator.training.keras import KerasModel


class ExporterMissing(TrainingError):
    """A package that writes this format cannot be imported."""


class Format(NamedTuple):
    """The suffix of a format's files, and if it needs the layers of a Keras model."""

    suffix: str
    has_layers: bool = False


#: By the names of `flo model get --format`. The formats with layers compute by themselves.
FORMATS: Final = {
    "safetensors": Format("safetensors"),
    "npz": Format("npz"),
    "torch": Format("pt"),
    "keras": Format("keras", has_layers=True),
    "litert": Format("tflite", has_layers=True),
    "onnx": Format("onnx", has_layers=True),
}


def write_model(
    path: Path,
    format_: str,
    weights: list[FloatArray],
    tensors: Sequence[WeightSpec],
    model: KerasModel | None,
) -> None:
    """Write float32 weights, or a model with them; the file is there whole or not at all.

    `model` has the layers of formats that need them. A file for PyTorch is a state dict.

    Raises:
        ExporterMissing: the format's package is not installed.
        WeightsFileError: the file cannot be written.
    """
    if model is None:
        if format_ == "torch":
            _save_torch(path, weights, tensors)
        else:
            save_weights(path, weights, tensors)
    elif format_ == "keras":
        save_keras(path, model, weights)
    else:
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            exported = Path(directory) / path.name
            try:
                model.export(weights, exported, format_)
            except ImportError as error:
                raise ExporterMissing(
                    f"The format {format_} cannot be written: {error}.",
                    install_hint("export"),
                ) from error
            exported.replace(path)


def _save_torch(path: Path, weights: list[FloatArray], tensors: Sequence[WeightSpec]) -> None:
    from fl_orchestrator.training.torch import load_torch

    torch = load_torch()
    state = {
        tensor.name: torch.from_numpy(array.copy())
        for tensor, array in zip(tensors, weights, strict=True)
    }
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        saved = Path(directory) / path.name
        torch.save(state, saved)
        saved.replace(path)
