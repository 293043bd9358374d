"""Weights in files: reads weights that were trained elsewhere, and writes the final model.

A file is not trusted. Its size is checked before it is opened, and names and shapes before a tensor
is read. Nothing is unpickled, and no code that the file names is executed.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fl_orchestrator.errors import ContentError, InputError
from fl_orchestrator.files import open_regular, sync
from fl_orchestrator.training.trainer import BadWeights, FloatArray, WeightSpec

if TYPE_CHECKING:
    from fl_orchestrator.training.keras import KerasModel

# Bytes for names and headers besides the values: far more than any real file needs.
OVERHEAD_PER_TENSOR = 4_096
OVERHEAD_PER_FILE = 4 * 1024 * 1024
_COMPARED_BYTES = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)


class BadWeightsFile(InputError):
    """A file of weights is missing, of an unknown kind, too large or malformed."""


class UnwritableFile(ContentError):
    """A file of weights cannot be written."""


def load_weights(path: Path, tensors: Sequence[WeightSpec]) -> list[FloatArray]:
    """Read the weights of a model from a `.npz`, `.safetensors` or `.keras` file.

    Tensors are found by the names in `tensors`. If all of them have different shapes, a `.npz` may
    also name them `arr_0`, `arr_1`, ..., as `np.savez(path, *weights)` does. Values of float16,
    float32 or float64 are rounded to float32. To read `.keras`, Keras is imported and used in its
    safe mode.

    Returns:
        One float32 array per tensor, in the order of `tensors`.

    Raises:
        BadWeightsFile: no such file, an unknown kind, too large, or not readable as its kind.
        BadWeights: a tensor is missing, superfluous, of another shape or dtype, or not finite.
        TensorFlowMissing: a `.keras` file was given and TensorFlow is not installed.
    """
    readers: dict[str, Callable[[Path, Sequence[WeightSpec]], list[FloatArray]]] = {
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
        ".keras": _read_keras,
    }
    if path.suffix not in readers:
        raise BadWeightsFile(
            f"{path} is not a file of weights that can be read.",
            f"Save the weights as {', '.join(readers)}; pickled files are never read.",
        )
    if not path.is_file():
        raise BadWeightsFile(f"The file {path} does not exist.", "Check the path.")
    _check_size(path, path.stat().st_size, tensors)
    return readers[path.suffix](path, tensors)


def save_weights(path: Path, weights: Sequence[FloatArray], tensors: Sequence[WeightSpec]) -> None:
    """Write float32 weights to a `.npz` or `.safetensors` file, atomically.

    Raises BadWeightsFile for another suffix, and UnwritableFile.
    """
    if path.suffix not in (".npz", ".safetensors"):
        raise BadWeightsFile(
            f"{path} does not have the suffix of a file of weights.", "Use .safetensors or .npz."
        )
    temporary = path.with_name(f".new-{path.name}")
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(temporary, "w") as archive:
                for tensor, array in zip(tensors, weights, strict=True):
                    entry = zipfile.ZipInfo(f"{tensor.name}.npy", EPOCH)
                    with archive.open(entry, "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)
        else:
            save_safetensors(temporary, weights, tensors)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise UnwritableFile(
            f"{path} cannot be written: {error.strerror}.",
            "Check that its directory exists and has room.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def holds(path: Path, weights: Sequence[FloatArray], tensors: Sequence[WeightSpec]) -> bool:
    """Whether a file has what `save_weights` writes into a `.safetensors`; it is not trusted.

    It is compared with the weights block by block. Raises OSError.
    """
    from pydantic_core import from_json

    arrays = {t.name: np.ascontiguousarray(w) for t, w in zip(tensors, weights, strict=True)}
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > OVERHEAD_PER_FILE + OVERHEAD_PER_TENSOR * len(arrays):
            return False
        try:
            order = _order_in(from_json(file.read(length)), arrays)
        except (ValueError, TypeError, LookupError, AttributeError):
            return False
        return order is not None and _follows(file, [arrays[name] for name in order])


def _order_in(header: Any, arrays: Mapping[str, FloatArray]) -> list[str] | None:
    """The names in the order of their values, if the header is of these float32 arrays.

    Raises ValueError, TypeError, LookupError or AttributeError for what is no header.
    """
    order = sorted(header, key=lambda name: tuple(map(int, header[name]["data_offsets"])))
    at = 0
    for name in order:
        array, entry = arrays[name], header[name]
        expected = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        if entry != expected or array.dtype != np.float32:
            return None
        at += array.nbytes
    return order if len(order) == len(arrays) else None


def _follows(file: io.FileIO, arrays: Sequence[FloatArray]) -> bool:
    """Whether the rest of a file has the bytes of these arrays, and nothing else."""
    for array in arrays:
        values = array.reshape(-1).view(np.uint8)
        for start in range(0, values.size, _COMPARED_BYTES):
            block = values[start : start + _COMPARED_BYTES].tobytes()
            if file.read(len(block)) != block:
                return False
    return not file.read(1)


def save_safetensors(
    path: Path, weights: Sequence[FloatArray], tensors: Sequence[WeightSpec]
) -> None:
    """Write float32 weights under their tensors' names; equal weights give equal bytes.

    Raises UnwritableFile, and then leaves an existing file unchanged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # The writer copies an array's memory, so the array must be in row-major order.
    rows = [np.asarray(array, order="C") for array in weights]
    try:
        save_file({tensor.name: array for tensor, array in zip(tensors, rows, strict=True)}, path)
    except SafetensorError as error:
        reason = str(error).rpartition("I/O error: ")[2]
        raise UnwritableFile(
            f"{path} cannot be written: {reason}.", "Check that its directory exists and has room."
        ) from error


def save_keras(path: Path, model: KerasModel, weights: list[FloatArray]) -> None:
    """Write a `.keras` file with the model and these weights; equal weights give equal bytes.

    Keras records the time and memory addresses in the file. They are replaced by constants, so that
    models can be compared as files.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        saved = Path(directory) / "model.keras"
        model.save(weights, saved)
        rewritten = Path(directory) / "rewritten.keras"
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(rewritten, "w") as new:
            for name in sorted(old.namelist()):
                content = old.read(name)
                if name.endswith(".json"):
                    content = _without_time_and_place(content)
                new.writestr(zipfile.ZipInfo(name, EPOCH), content)
        rewritten.replace(path)


def _without_time_and_place(text: bytes) -> bytes:
    numbers: dict[int, int] = {}

    def constant(item: dict[str, Any]) -> dict[str, Any]:
        if "date_saved" in item:
            item["date_saved"] = ""
        if "shared_object_id" in item:  # the address of an object that occurs more than once
            address = item["shared_object_id"]
            item["shared_object_id"] = numbers.setdefault(address, len(numbers))
        return item

    return json.dumps(json.loads(text, object_hook=constant)).encode()


def max_weights_bytes(tensors: Sequence[WeightSpec]) -> int:
    """The largest size of a file, in bytes: float64 values, two optimizer copies, and headers."""
    values = sum(int(np.prod(tensor.shape)) for tensor in tensors)
    return 3 * 8 * values + OVERHEAD_PER_TENSOR * len(tensors) + OVERHEAD_PER_FILE


def _check_size(path: Path, size: int, tensors: Sequence[WeightSpec]) -> None:
    limit = max_weights_bytes(tensors)
    if size > limit:
        raise BadWeightsFile(
            f"{path} has {size} bytes, more than the {limit} that this model can need.",
            "Save only the weights of the model.",
        )


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    """Turn any error of a parser on hostile bytes into one error that names the file."""
    try:
        yield
    except (BadWeights, BadWeightsFile):
        raise
    except Exception as error:
        raise BadWeightsFile(
            f"{path} is not a readable {path.suffix} file: {error}", "Save the weights again."
        ) from error


def _check_archive(path: Path, archive: zipfile.ZipFile, tensors: Sequence[WeightSpec]) -> None:
    """Check the sizes in an archive before it is read: a small one may unpack to a huge one."""
    _check_size(path, sum(entry.file_size for entry in archive.infolist()), tensors)


def _read_npz(path: Path, tensors: Sequence[WeightSpec]) -> list[FloatArray]:
    with _malformed(path), zipfile.ZipFile(path) as archive:
        _check_archive(path, archive, tensors)
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        keys = [f"arr_{number}" for number in range(len(tensors))]
        if names == set(keys) and names != {tensor.name for tensor in tensors}:
            _require_distinct_shapes(path, tensors)
        else:
            _check_names(names, tensors)
            keys = [tensor.name for tensor in tensors]
        return [_npy(archive, key, tensor) for key, tensor in zip(keys, tensors, strict=True)]


def _require_distinct_shapes(path: Path, tensors: Sequence[WeightSpec]) -> None:
    """Check that arrays without names have different shapes: else two could be exchanged."""
    first: dict[tuple[int, ...], str] = {}
    for tensor in tensors:
        other = first.setdefault(tensor.shape, tensor.name)
        if other != tensor.name:
            raise BadWeights(
                f"The arrays in {path} have no names, and the tensors {other} and {tensor.name} "
                "have the same shape: they could be swapped.",
                "Save them by their names: np.savez(path, **weights), with the manifest's names "
                "as keys.",
            )


def _npy(archive: zipfile.ZipFile, key: str, tensor: WeightSpec) -> FloatArray:
    """Read one array of a `.npz`; its header is checked before memory is allocated for it."""
    with archive.open(f"{key}.npy") as file:
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(file)]
        shape, _, dtype = read_header(file)
    _check_form(shape, dtype, tensor)
    with archive.open(f"{key}.npy") as file:
        return _checked(np.lib.format.read_array(file, allow_pickle=False), tensor)


def _read_safetensors(path: Path, tensors: Sequence[WeightSpec]) -> list[FloatArray]:
    from safetensors import safe_open

    with _malformed(path), safe_open(path, framework="numpy") as file:
        _check_names(set(file.keys()), tensors)
        return [_checked(file.get_tensor(tensor.name), tensor) for tensor in tensors]


def _read_keras(path: Path, tensors: Sequence[WeightSpec]) -> list[FloatArray]:
    from fl_orchestrator.training.keras import (
        federated_variables,
        load_tensorflow,
        tensor_specs,
    )

    with _malformed(path), zipfile.ZipFile(path) as archive:
        _check_archive(path, archive, tensors)
    load_tensorflow()
    import keras

    with _malformed(path):
        # Safe mode refuses files that would run their author's code.
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
        found = {
            spec.name: np.asarray(weight.numpy(), np.float32)
            for spec, weight in zip(tensor_specs(model), federated_variables(model), strict=True)
        }
    _check_names(set(found), tensors)
    return [_checked(found[tensor.name], tensor) for tensor in tensors]


def _check_names(names: set[str], tensors: Sequence[WeightSpec]) -> None:
    expected = {tensor.name for tensor in tensors}
    for problem, wrong in (("lack", expected - names), ("have a superfluous", names - expected)):
        if wrong:
            raise BadWeights(
                f"The weights {problem} tensor {min(wrong)!r}.",
                f"The model has {', '.join(tensor.name for tensor in tensors)}.",
            )


def _check_form(shape: tuple[int, ...], dtype: Any, tensor: WeightSpec) -> None:
    if shape != tensor.shape:
        raise BadWeights(
            f"Tensor {tensor.name} has the shape {shape}, not {tensor.shape}.",
            "Use weights of the model that the manifest describes.",
        )
    if dtype.newbyteorder("=") not in (np.float16, np.float32, np.float64):
        raise BadWeights(f"Tensor {tensor.name} is {dtype}, not a float.", "Save it as float32.")


def _checked(array: Any, tensor: WeightSpec) -> FloatArray:
    _check_form(array.shape, array.dtype, tensor)
    with np.errstate(over="ignore"):
        values: FloatArray = array.astype(np.float32, order="C")
    if not np.isfinite(values).all():
        raise BadWeights(
            f"Tensor {tensor.name} has a value that is NaN or infinite.",
            "Training diverged, or a value exceeds float32: train again with a lower rate.",
        )
    return values
