"""TensorFlow in this process: how it is started and seeded, and what its errors mean to a user."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import numpy as np

from fl_orchestrator.errors import TrainingError, install_hint

_NO_SENTENCE: Final = (
    *("Exception encountered", "Graph execution error", "Detected at", "Hint:", "[[", "[Op:"),
)


class TensorFlowMissing(TrainingError):
    """TensorFlow cannot be imported."""


class UnsupportedModel(TrainingError):
    """A model, or its labels, that this trainer cannot train."""


class OutOfMemory(TrainingError):
    """The machine, or its accelerator, has too little memory for a step of training."""


class DataMismatch(TrainingError):
    """TensorFlow cannot compute the model on these rows.

    The message quotes TensorFlow, which may quote values of the data; so a log gets less.
    """

    @property
    def for_log(self) -> str:
        return "The rows do not go with the model."


def load_tensorflow(*, deterministic: bool = False, threads: int | None = None) -> Any:
    """Import TensorFlow, with its errors alone. What is set here holds for the whole process.

    Devices are TensorFlow's choice, or the user's. Memory of a GPU is allocated as it is needed, as
    a site may have other uses for it.

    Args:
        deterministic: Equal bits on every machine of one kind, with one thread unless ``threads``
            says otherwise. It cannot be switched off again, and excludes XLA and oneDNN.
        threads: How many threads compute; default: TensorFlow's choice.

    Raises:
        TensorFlowMissing: it is not installed.
        UnsupportedModel: Keras is set to another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if deterministic:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels depend on the processor
    try:
        import keras
        import tensorflow
    except ImportError as error:
        raise TensorFlowMissing(
            f"TensorFlow cannot be imported: {error}.",
            install_hint("demo"),
        ) from error
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedModel(
            f"Keras runs on {keras.backend.backend()}; this trainer needs TensorFlow.",
            "Set KERAS_BACKEND=tensorflow.",
        )
    _grow_memory(tensorflow)
    if deterministic:
        tensorflow.config.experimental.enable_op_determinism()
        threads = threads or 1
    if threads is not None:
        _set_threads(tensorflow, threads)
    return tensorflow


def _grow_memory(tensorflow: Any) -> None:
    """Have TensorFlow take a GPU's memory bit by bit, where its user has not decided otherwise."""
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        # It has been started already, or its user has divided the GPU.
        with suppress(RuntimeError, ValueError):
            tensorflow.config.experimental.set_memory_growth(gpu, True)


def _set_threads(tensorflow: Any, number: int) -> None:
    threads = tensorflow.config.threading
    if threads.get_intra_op_parallelism_threads() == number:
        return
    try:
        threads.set_intra_op_parallelism_threads(number)
        threads.set_inter_op_parallelism_threads(number)
    except RuntimeError:
        warnings.warn(
            f"TensorFlow was already started, not with {number} threads: "
            "trained weights may depend on the number of processors. "
            "Give KerasTrainer a function that builds the model.",
            stacklevel=3,
        )


@contextmanager
def training_errors(tf: Any) -> Iterator[None]:
    """Say what TensorFlow's errors mean: too little memory, or rows that the model cannot take.

    Raises:
        OutOfMemory: an allocation failed, in Python or in TensorFlow.
        DataMismatch: shapes, types or values that the model's layers refuse.
    """
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise OutOfMemory(
            "There is not enough memory for a step of training.",
            "Use smaller batches or fewer rows at a time, or a machine with more memory.",
        ) from error
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise DataMismatch(
            f"The rows do not go with the model: {first_line(error)}",
            "Compare their shapes, types and classes with what the model was compiled for.",
        ) from error


def first_line(error: BaseException) -> str:
    """The sentence of a framework's error, without the stack that it describes around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Graph execution error"):
        lines = lines[::-1]  # the sentence comes last, before the name of the node
    told = next((line for line in lines if not line.startswith(_NO_SENTENCE)), "")
    return told[:300] or type(error).__name__


@contextmanager
def seeded(tf: Any, seed: int) -> Iterator[None]:
    """Seed what code of a user may draw from: `random`, NumPy's and TensorFlow's global generators.

    Those of Python and NumPy are put back afterwards. TensorFlow's cannot be read, and stays.
    """
    python, numpy = random.getstate(), np.random.get_state()
    tf.keras.utils.set_random_seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
