"""The cache of vectors: what comes from a store is checked before it is believed."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.disk import overwrite
from support.federation import small_manifest

from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.kept import FetchStopped
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentCorrupt, ContentNotFound, ContentTooLarge
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.fixed_point import UpdateEncoder, encode_update, float_view
from fl_orchestrator.model.keccak import hash_rows
from fl_orchestrator.model.manifest import RuleSpec, TensorSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.model.vector_file import (
    Defect,
    VectorFileError,
    VectorKind,
    VectorMeta,
    in_blocks,
    max_file_bytes,
    write_vector,
)
from fl_orchestrator.roles.vectors import (
    MovingGenesis,
    Origin,
    RootMismatch,
    VectorCache,
)

MANIFEST = small_manifest()
LAYOUT = MANIFEST.layout
ORIGIN = Origin(5, "0x" + "ab" * 20)
META = ORIGIN.update(3)
VECTOR = np.arange(LAYOUT.parameters, dtype=np.int16)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def cache(tmp_path: Path) -> VectorCache:
    return VectorCache(tmp_path / "cache", MANIFEST)


def file_of(vector: Any = VECTOR, meta: VectorMeta = META) -> tuple[bytes, bytes]:
    """A canonical file, and its root."""
    stream = io.BytesIO()
    tree = write_vector(stream, LAYOUT, meta, in_blocks(vector))
    return stream.getvalue(), tree.root


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_vector_is_fetched_once_and_then_had(
    cache: VectorCache, store: LocalStore, tmp_path: Path
) -> None:
    data, root = file_of()
    cid = store.put(io.BytesIO(data))
    fetched = cache.fetch(store, cid, root, META)
    assert fetched.path.read_bytes() == data
    assert (fetched.meta, fetched.root) == (META, root)
    assert np.array_equal(cache.load(fetched), VECTOR)
    nothing = LocalStore(tmp_path / "empty")
    assert cache.fetch(nothing, cid, root, META) == fetched
    assert VectorCache(tmp_path / "cache", MANIFEST).fetch(nothing, cid, root, META) == fetched


def test_a_written_vector_is_the_canonical_file(cache: VectorCache) -> None:
    data, root = file_of()
    written = cache.write(META, in_blocks(VECTOR, 3))
    assert written.root == root
    assert written.path.read_bytes() == data


def test_other_numbers_than_the_roots_are_refused(
    cache: VectorCache, store: LocalStore, tmp_path: Path
) -> None:
    other = VECTOR.copy()
    other[-1] += 1
    cid = store.put(io.BytesIO(file_of(other)[0]))
    with pytest.raises(RootMismatch, match="does not have its root on-chain"):
        cache.fetch(store, cid, file_of()[1], META)
    assert names(tmp_path / "cache") == []


def test_content_that_is_not_there_is_an_error(cache: VectorCache, store: LocalStore) -> None:
    data, root = file_of()
    with pytest.raises(ContentNotFound):
        cache.fetch(store, cid_of(io.BytesIO(data)), root, META)


def test_content_that_was_changed_in_the_store_is_refused(
    cache: VectorCache, store: LocalStore, tmp_path: Path
) -> None:
    data, root = file_of()
    cid = store.put(io.BytesIO(data))
    place = store.locate(cid)
    assert place is not None
    overwrite(place, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ContentCorrupt):
        cache.fetch(store, cid, root, META)
    assert names(tmp_path / "cache") == []


def test_content_larger_than_any_vector_is_not_read(
    cache: VectorCache, store: LocalStore, tmp_path: Path
) -> None:
    limit = max_file_bytes(LAYOUT, VectorKind.UPDATE)
    cid = store.put(io.BytesIO(bytes(limit + 1)))
    with pytest.raises(ContentTooLarge):
        cache.fetch(store, cid, file_of()[1], META)
    assert names(tmp_path / "cache") == []


def header_of(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header


def with_header(data: bytes, header: Any) -> bytes:
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def hostile_files() -> dict[str, tuple[bytes, Defect]]:
    data, _ = file_of()
    header = header_of(data)
    path_traversal = {
        "../../../etc/passwd" if name == "dense/bias" else name: entry
        for name, entry in header.items()
    }
    floats = json.loads(json.dumps(header))
    floats["dense/bias"]["dtype"] = "F16"
    transposed = json.loads(json.dumps(header))
    transposed["dense/kernel"]["shape"].reverse()
    overlapping = json.loads(json.dumps(header))
    overlapping["dense/bias"]["data_offsets"] = [0, 4]
    other_round = file_of(meta=ORIGIN.update(4))[0]
    other_chain = file_of(meta=Origin(6, ORIGIN.federation).update(3))[0]
    state = file_of(VECTOR.astype(np.int32), ORIGIN.state(3))[0]
    return {
        "empty": (b"", Defect.TRUNCATED),
        "truncated": (data[:-1], Defect.TRUNCATED),
        "cut in the header": (data[:50], Defect.TRUNCATED),
        "one value too many": (data + b"\0\0", Defect.OVERSIZED),
        "pickle": (b"\x80\x04\x95" + bytes(200), Defect.HEADER_LENGTH),
        "npz": (b"PK\x03\x04" + bytes(200), Defect.HEADER_LENGTH),
        "an enormous header": (b"\xff" * 8 + data[8:], Defect.HEADER_LENGTH),
        "no json": (data[:8] + b"x" * 8 + data[16:], Defect.HEADER),
        "path traversal": (with_header(data, path_traversal), Defect.NAMES),
        "floats": (with_header(data, floats), Defect.DTYPE),
        "transposed": (with_header(data, transposed), Defect.SHAPE),
        "overlapping": (with_header(data, overlapping), Defect.OFFSETS),
        "other round": (other_round, Defect.METADATA),
        "other chain": (other_chain, Defect.METADATA),
        "a state for an update": (state, Defect.METADATA),
        "re-encoded": (with_header(data, dict(reversed(header.items()))), Defect.NAMES),
    }


@pytest.mark.parametrize("name", hostile_files())
def test_a_malformed_file_is_refused_for_what_it_is(
    cache: VectorCache, store: LocalStore, tmp_path: Path, name: str
) -> None:
    data, defect = hostile_files()[name]
    cid = store.put(io.BytesIO(data))
    with pytest.raises(VectorFileError) as refusal:
        cache.fetch(store, cid, file_of()[1], META)
    assert refusal.value.defect is defect
    assert names(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["truncated", "pickle", "no json", "other round"])
def test_a_store_that_changes_bytes_does_not_make_their_author_malformed(
    cache: VectorCache, store: LocalStore, tmp_path: Path, name: str
) -> None:
    # An aggregator leaves malformed updates out for good, and asks for the others again.
    data, root = file_of()
    cid = store.put(io.BytesIO(data))
    place = store.locate(cid)
    assert place is not None
    overwrite(place, hostile_files()[name][0])
    with pytest.raises(ContentCorrupt):
        cache.fetch(store, cid, root, META)
    assert names(tmp_path / "cache") == []


def test_what_nobody_waits_for_any_more_is_not_read_on(
    cache: VectorCache, store: LocalStore, tmp_path: Path
) -> None:
    data, root = file_of()
    cid = store.put(io.BytesIO(data))
    with pytest.raises(FetchStopped):
        cache.fetch(store, cid, root, META, stop=lambda: True)
    assert names(tmp_path / "cache") == []


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(position=st.integers(0, len(file_of()[0]) - 1), change=st.integers(1, 255))
def test_no_changed_byte_goes_through(
    cache: VectorCache, store: LocalStore, tmp_path: Path, position: int, change: int
) -> None:
    data, root = file_of()
    changed = bytearray(data)
    changed[position] ^= change
    cid = store.put(io.BytesIO(bytes(changed)))
    with pytest.raises((VectorFileError, VerificationError)):
        cache.fetch(store, cid, root, META)
    assert names(tmp_path / "cache") == []


def test_the_round_before_genesis_is_nobodys() -> None:
    assert ORIGIN.state(0) == VectorMeta.genesis()
    assert ORIGIN.state(1) == VectorMeta(VectorKind.GLOBAL, 5, ORIGIN.federation, 1)


@pytest.mark.parametrize("rule", RuleKind, ids=lambda kind: kind.label)
def test_the_manifests_rule_is_applied_to_the_files(tmp_path: Path, rule: RuleKind) -> None:
    trim = {"trim_bps": 4000} if rule is RuleKind.TRIMMED_MEAN else {}
    cache = VectorCache(tmp_path, small_manifest(rule=RuleSpec.of(rule, **trim)))
    size = LAYOUT.parameters
    base = cache.write(ORIGIN.state(2), [np.full(size, 1000, np.int32)])
    values, weights = (-7, 100, 2), (1, 2, 1)
    updates = [
        (cache.write(META, [np.full(size, value, np.int16)]), weight)
        for value, weight in zip(values, weights, strict=True)
    ]
    # (2 * 195 + 4) // 8, the element of rank 1, and the one that is left.
    moved = {RuleKind.WEIGHTED_MEAN: 49, RuleKind.MEDIAN: 2, RuleKind.TRIMMED_MEAN: 2}[rule]
    result = cache.aggregate(base, updates, ORIGIN.state(3))
    step = 1 << 24 - MANIFEST.update_fraction_bits
    assert set(cache.load(result).tolist()) == {1000 + moved * step}
    assert result.meta == ORIGIN.state(3)


def test_an_update_that_is_truncated_on_this_disk_is_not_aggregated(cache: VectorCache) -> None:
    base = cache.write(ORIGIN.state(2), [np.zeros(LAYOUT.parameters, np.int32)])
    update = cache.write(META, in_blocks(VECTOR))
    update.path.chmod(0o600)
    os.truncate(update.path, update.path.stat().st_size - 2)
    with pytest.raises(VectorFileError):
        cache.aggregate(base, [(update, 1)], ORIGIN.state(3))


def test_files_of_earlier_rounds_are_forgotten(cache: VectorCache, tmp_path: Path) -> None:
    state = np.zeros(LAYOUT.parameters, np.int32)
    files = [cache.write(ORIGIN.state(n), [state]) for n in (1, 2, 10)]
    update = cache.write(ORIGIN.update(2), in_blocks(VECTOR))
    (tmp_path / "cache" / "global-old-notes.safetensors").touch()
    cache.forget_rounds_before(2)
    assert [f.path.exists() for f in (*files, update)] == [False, True, True, True]


def test_of_a_void_round_the_updates_are_forgotten_and_models_kept(cache: VectorCache) -> None:
    state = cache.write(ORIGIN.state(3), [np.zeros(LAYOUT.parameters, np.int32)])
    updates = [cache.write(ORIGIN.update(n), in_blocks(VECTOR)) for n in (2, 3, 4)]
    cache.forget_rounds_before(1, range(3, 4))
    assert [f.path.exists() for f in (state, *updates)] == [True, True, False, True]


def test_what_a_crash_left_is_removed_with_the_earlier_rounds(
    cache: VectorCache, store: LocalStore, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    class Killing(LocalStore):
        def get(self, cid: Cid, max_bytes: int) -> Any:
            (tmp_path / "cache" / "new-left").touch()
            raise Killed

    data, root = file_of()
    with pytest.raises(Killed):
        cache.fetch(Killing(tmp_path / "store"), cid_of(io.BytesIO(data)), root, META)
    assert names(tmp_path / "cache") == ["new-left"]
    cache.forget_rounds_before(1)
    assert names(tmp_path / "cache") == []


def test_an_interrupted_write_leaves_nothing(cache: VectorCache, tmp_path: Path) -> None:
    def blocks() -> Any:
        yield VECTOR[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.write(META, blocks())
    assert names(tmp_path / "cache") == []


def test_a_partys_update_is_made_without_a_copy_of_the_model_or_the_update(tmp_path: Path) -> None:
    manifest = small_manifest(tensors=(TensorSpec(name="w", shape=(1_000_000,)),), depth=12)
    cache = VectorCache(tmp_path, manifest)
    state = np.random.default_rng(0).integers(-(2**30), 2**30, 1_000_000, np.int32)
    base = cache.write(ORIGIN.state(2), in_blocks(state))
    moved = [weight + np.float32(0.01) for weight in float_view(manifest.layout, state)]
    bits = manifest.update_fraction_bits
    wanted = encode_update(manifest.layout, bits, moved, state)
    hash_rows(np.zeros((1, 64), np.uint8), total=1 << 20)  # loads the compiled code
    tracemalloc.start()
    weights = cache.weights(base)
    peak_of_weights = tracemalloc.get_traced_memory()[1]
    del weights
    tracemalloc.reset_peak()
    encoder = UpdateEncoder(manifest.layout, bits, moved)
    update = cache.write(ORIGIN.update(3), cache.encoded(base, encoder))
    peak_of_update = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The weights are 4 MB, the state another 4 MB, and the update 2 MB.
    assert peak_of_weights < 6_000_000
    assert peak_of_update < 2_000_000
    assert np.array_equal(cache.load(update), wanted.vector)
    assert encoder.encoding() == wanted.encoding


def test_the_first_model_may_not_move_already(tmp_path: Path) -> None:
    momentum = small_manifest(rule=RuleSpec(server_momentum_bps=9000))
    layout, genesis = momentum.layout, VectorMeta.genesis()
    assert layout.halves == 2
    cache = VectorCache(tmp_path, momentum)
    state = np.arange(2 * layout.parameters, dtype=np.int32)
    state[layout.parameters :] = 0
    still = cache.write(genesis, [state])
    for found, wanted in zip(cache.weights(still), float_view(layout, state), strict=True):
        assert np.array_equal(found, wanted)
    state[-1] = 1
    moving = cache.write(genesis, [state])
    for read in (cache.weights, cache.load):
        with pytest.raises(MovingGenesis):
            read(moving)
    # A later model has a momentum.
    later = cache.write(ORIGIN.state(3), [state])
    assert np.array_equal(cache.weights(later)[0], cache.weights(still)[0])
