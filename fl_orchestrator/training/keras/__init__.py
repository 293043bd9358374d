"""Trainers for Keras models on TensorFlow: any compiled model, and the data that `fit` takes.

`KerasTrainer(model, x, y, validation=...)` is all that a site needs. `KerasModel` is a model that
many trainers of one process share. docs/trainers.md describes both. Importing this package does not
import Keras.
"""

from fl_orchestrator.training.keras.model import KerasModel
from fl_orchestrator.training.keras.runtime import (
    DataMismatch,
    OutOfMemory,
    TensorFlowMissing,
    UnsupportedModel,
    load_tensorflow,
)
from fl_orchestrator.training.keras.source import UnusableData
from fl_orchestrator.training.keras.tensors import ModelChanged, federated_variables, tensor_specs
from fl_orchestrator.training.keras.trainer import KerasTrainer

__all__ = [
    "DataMismatch",
    "KerasModel",
    "KerasTrainer",
    "ModelChanged",
    "OutOfMemory",
    "TensorFlowMissing",
    "UnsupportedModel",
    "UnusableData",
    "federated_variables",
    "load_tensorflow",
    "tensor_specs",
]
