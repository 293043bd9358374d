"""Files of weights: a round trip to the bit, and a typed refusal of everything else."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from fl_orchestrator.training.trainer import BadWeights, FloatArray, WeightSpec
from fl_orchestrator.training.weights_file import (
    BadWeightsFile,
    UnwritableFile,
    holds,
    load_weights,
    save_safetensors,
    save_weights,
)

TENSORS = (WeightSpec("hidden/kernel", (3, 2)), WeightSpec("a/bias", (2,)), WeightSpec("s", ()))


def weights(seed: int = 0) -> list[FloatArray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=tensor.shape).astype(np.float32) for tensor in TENSORS]


def named(seed: int = 0) -> dict[str, FloatArray]:
    return {tensor.name: array for tensor, array in zip(TENSORS, weights(seed), strict=True)}


def assert_equal(found: list[FloatArray], expected: list[FloatArray]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


def test_safetensors_come_back_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_safetensors(path, weights(), TENSORS)
    assert_equal(load_weights(path, TENSORS), weights())


def test_equal_weights_give_equal_safetensors(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_safetensors(tmp_path / name, weights(), TENSORS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_transposed_memory_is_written_in_row_major_order(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_safetensors(path, [np.asarray(array, order="F") for array in weights()], TENSORS)
    assert_equal(load_weights(path, TENSORS), weights())
    np.savez(tmp_path / "w.npz", *(np.asarray(array, order="F") for array in weights()))
    assert_equal(load_weights(tmp_path / "w.npz", TENSORS), weights())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_saved_weights_replace_the_old_ones_whole(tmp_path: Path, suffix: str) -> None:
    path, other = tmp_path / f"current{suffix}", tmp_path / f"other{suffix}"
    tensors = (WeightSpec("file", (3, 2)), *TENSORS[1:])  # a name that means something to NumPy
    for seed in (0, 1):
        save_weights(path, weights(seed), tensors)
    save_weights(other, weights(1), tensors)
    assert_equal(load_weights(path, tensors), weights(1))
    assert path.read_bytes() == other.read_bytes()
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_weights_that_cannot_be_saved_leave_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "current.npz"
    save_weights(path, weights(), TENSORS)
    with pytest.raises(UnwritableFile, match="No such file or directory"):
        save_weights(tmp_path / "no" / "current.npz", weights(), TENSORS)
    with pytest.raises(BadWeightsFile, match="not have the suffix"):
        save_weights(tmp_path / "current.h5", weights(), TENSORS)
    with pytest.raises(ValueError, match="argument"):
        save_weights(path, weights()[:1], TENSORS)
    assert_equal(load_weights(path, TENSORS), weights())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_read_by_names_whatever_their_order(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    path = tmp_path / "weights.npz"
    save(path, **dict(reversed(named().items())))
    assert_equal(load_weights(path, TENSORS), weights())


def test_an_npz_without_names_is_read_in_manifest_order(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, *weights())
    assert_equal(load_weights(path, TENSORS), weights())


def test_an_npz_without_names_is_refused_where_its_arrays_could_be_swapped(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    tensors = (WeightSpec("gamma", (2,)), WeightSpec("kernel", (2, 2)), WeightSpec("beta", (2,)))
    gamma, kernel, beta = np.ones(2), np.zeros((2, 2)), np.full(2, 2.0)
    np.savez(path, gamma, kernel, beta)
    with pytest.raises(BadWeights, match="gamma and beta have the same shape") as refusal:
        load_weights(path, tensors)
    assert "by their names" in str(refusal.value.hint)


def test_tensors_that_are_called_like_arrays_without_names_go_by_their_names(
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights.npz"
    tensors = (WeightSpec("arr_1", (2,)), WeightSpec("arr_0", (2,)))
    np.savez(path, np.zeros(2), np.ones(2))
    found = load_weights(path, tensors)
    assert [array.tolist() for array in found] == [[1, 1], [0, 0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floats_are_rounded_to_float32(tmp_path: Path, dtype: DTypeLike) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, *(array.astype(dtype) for array in weights()))
    expected = [array.astype(dtype).astype(np.float32) for array in weights()]
    assert_equal(load_weights(path, TENSORS), expected)


def save_as(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    if path.suffix == ".npz":
        np.savez(path, **cast(Any, arrays))
    else:
        save_file(arrays, path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("a/bias"), "lack tensor 'a/bias'"),
        (lambda w: w.update(extra=w["s"]), "superfluous tensor 'extra'"),
        (lambda w: w.update({"a/bias": np.zeros(3, np.float32)}), "a/bias has the shape"),
        (lambda w: w.update({"hidden/kernel": np.zeros((2, 3), np.float32)}), "has the shape"),
        (lambda w: w.update({"a/bias": np.zeros(2, np.int32)}), "a/bias is int32"),
        (lambda w: w.update({"a/bias": np.array([0, np.nan], np.float32)}), "NaN or infinite"),
        (lambda w: w.update({"a/bias": np.array([0, np.inf], np.float32)}), "NaN or infinite"),
        (lambda w: w.update({"a/bias": np.array([0, 1e300])}), "NaN or infinite"),
    ],
)
def test_wrong_weights_are_refused_by_name(
    tmp_path: Path, suffix: str, change: Any, message: str
) -> None:
    arrays = named()
    change(arrays)
    save_as(tmp_path / f"w{suffix}", arrays)
    with pytest.raises(BadWeights, match=message):
        load_weights(tmp_path / f"w{suffix}", TENSORS)


@pytest.mark.parametrize("name", ["weights.pkl", "weights.h5", "weights.pt", "weights", "w.npy"])
def test_another_kind_of_file_is_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadWeightsFile, match="pickled files are never read"):
        load_weights(tmp_path / name, TENSORS)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".keras"])
def test_a_missing_file_or_a_directory_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(BadWeightsFile, match="does not exist"):
        load_weights(tmp_path / f"none{suffix}", TENSORS)
    (tmp_path / f"directory{suffix}").mkdir()
    with pytest.raises(BadWeightsFile, match="does not exist"):
        load_weights(tmp_path / f"directory{suffix}", TENSORS)


class Trap:
    sprung = False

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, (f"import {__name__} as m; m.Trap.sprung = True",))


def test_a_pickle_inside_an_npz_is_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    trap = np.empty((2,), object)
    trap[:] = Trap()
    np.savez(path, **cast(Any, {**named(), "a/bias": trap}))
    with pytest.raises(BadWeights, match="a/bias is object"):
        load_weights(path, TENSORS)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadWeightsFile, match="not a readable"):
        load_weights(path, TENSORS)
    assert not Trap.sprung


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".keras"])
def test_a_file_too_large_for_the_model_is_refused_before_it_is_opened(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"w{suffix}"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadWeightsFile, match="more than the"):
        load_weights(path, TENSORS)


@pytest.mark.parametrize("suffix", [".npz", ".keras"])
def test_a_small_archive_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", bytes(100_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(BadWeightsFile, match="more than the"):
        load_weights(path, TENSORS)


def test_an_npz_header_that_claims_a_huge_array_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    content = io.BytesIO()
    huge = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
    np.lib.format.write_array_header_1_0(content, huge)
    np.savez(path, **cast(Any, {k: v for k, v in named().items() if k != "a/bias"}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/bias.npy", content.getvalue())
    with pytest.raises(BadWeights, match="a/bias has the shape"):
        load_weights(path, TENSORS)


def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = json.dumps(
        {"a/bias": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(BadWeightsFile, match="not a readable"):
        load_weights(path, TENSORS)
    path.write_bytes(struct.pack("<Q", 1 << 62) + header)
    with pytest.raises(BadWeightsFile, match="not a readable"):
        load_weights(path, TENSORS)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files_raise_typed_errors_and_nothing_else(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    path = tmp_path / f"w{suffix}"
    save_as(path, {k: np.atleast_1d(v) for k, v in named().items()})
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="truncate"):
        del content[data.draw(st.integers(0, len(content) - 1), label="length") :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    tensors = [WeightSpec(t.name, t.shape or (1,)) for t in TENSORS]
    try:
        found = load_weights(path, tensors)
    except (BadWeights, BadWeightsFile):
        return
    for array, tensor in zip(found, tensors, strict=True):
        assert array.shape == tensor.shape
        assert np.isfinite(array).all()


# A file that somebody else may have written


def small_model() -> tuple[list[WeightSpec], list[Any]]:
    specs = [WeightSpec("b", (3,)), WeightSpec("a", (2, 2)), WeightSpec("none", (0,))]
    return specs, [np.full(spec.shape, number, np.float32) for number, spec in enumerate(specs)]


def test_a_file_holds_what_was_saved_in_it(tmp_path: Path) -> None:
    specs, weights = small_model()
    save_weights(tmp_path / "w.safetensors", weights, specs)
    assert holds(tmp_path / "w.safetensors", weights, specs)
    other = [*weights[:1], weights[1] + 1, weights[2]]
    assert not holds(tmp_path / "w.safetensors", other, specs)
    assert not holds(tmp_path / "w.safetensors", weights[:2], specs[:2])


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_a_changed_file_does_not_hold_them(tmp_path: Path, data: st.DataObject) -> None:
    specs, weights = small_model()
    path = tmp_path / "w.safetensors"
    save_weights(path, weights, specs)
    content = path.read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(changed))
    # Blanks in the header may be others.
    if holds(path, weights, specs):
        assert at < length
        assert [a.tolist() for a in load_weights(path, specs)] == [w.tolist() for w in weights]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 8, b"\2" + bytes(7) + b"{}", b"\2" + bytes(7) + b"[]", b"\4" + bytes(7)],
)
def test_junk_does_not_hold_them(tmp_path: Path, content: bytes) -> None:
    specs, weights = small_model()
    (tmp_path / "w.safetensors").write_bytes(content)
    assert not holds(tmp_path / "w.safetensors", weights, specs)
