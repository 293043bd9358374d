"""Several roles of a machine: each checks what it takes, and each file is on the disk once."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.disk import bytes_on_disk, disk_with_room_for, overwrite
from support.federation import small_manifest

from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentCorrupt
from fl_orchestrator.model.vector_file import VectorMeta, in_blocks, write_vector
from fl_orchestrator.roles.vectors import Origin, VectorCache

MANIFEST = small_manifest()
LAYOUT = MANIFEST.layout
ORIGIN = Origin(5, "0x" + "ab" * 20)
META = ORIGIN.update(3)
VECTOR = np.arange(LAYOUT.parameters, dtype=np.int16)
STATE = np.arange(LAYOUT.parameters, dtype=np.int32)


def file_of(vector: Any = VECTOR, meta: VectorMeta = META) -> tuple[bytes, bytes]:
    """A canonical file, and its root."""
    stream = io.BytesIO()
    tree = write_vector(stream, LAYOUT, meta, in_blocks(vector))
    return stream.getvalue(), tree.root


DATA, ROOT = file_of()
CID = cid_of(io.BytesIO(DATA))


class Remote(LocalStore):
    """A store on another machine: nothing of it can be linked. Counts what is fetched."""

    fetched = 0

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        self.fetched += 1
        return super().get(cid, max_bytes)

    def link(self, cid: Cid, path: Path) -> bool:
        return False


@pytest.fixture
def store(tmp_path: Path) -> Remote:
    store = Remote(tmp_path / "remote")
    store.put(io.BytesIO(DATA))
    return store


@pytest.fixture
def role(tmp_path: Path) -> Callable[[str], VectorCache]:
    def cache(name: str) -> VectorCache:
        return VectorCache(tmp_path / "homes" / name, MANIFEST, tmp_path / "homes" / "shared")

    return cache


def shared_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "homes" / "shared").iterdir()
    return path


def test_what_one_role_has_fetched_another_has(
    role: Callable[[str], VectorCache], store: Remote, tmp_path: Path
) -> None:
    for name in ("one", "other", "third"):
        assert role(name).fetch(store, CID, ROOT, META).path.read_bytes() == DATA
    assert store.fetched == 1
    assert bytes_on_disk(tmp_path / "homes") == len(DATA)


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA + b"x", DATA[:-1] + b"x", b"{" * 100])
def test_a_damaged_shared_file_is_found_and_fetched_again(
    role: Callable[[str], VectorCache], store: Remote, tmp_path: Path, damage: bytes
) -> None:
    role("one").fetch(store, CID, ROOT, META)
    overwrite(shared_file(tmp_path), damage)
    with capture_logs() as logs:
        assert role("other").fetch(store, CID, ROOT, META).path.read_bytes() == DATA
    assert [log["event"] for log in logs] == ["a shared file is damaged"]
    assert store.fetched == 2
    # The next one has the right file from the second.
    assert role("third").fetch(store, CID, ROOT, META).path.read_bytes() == DATA
    assert store.fetched == 2


def test_a_right_file_under_another_name_is_not_taken_for_this_one(
    role: Callable[[str], VectorCache], store: Remote, tmp_path: Path
) -> None:
    other, other_root = file_of(VECTOR[::-1])
    other_cid = store.put(io.BytesIO(other))
    fetched = role("one").fetch(store, other_cid, other_root, META)
    (tmp_path / "homes" / "shared" / fetched.path.name).rename(
        tmp_path / "homes" / "shared" / f"update-3-{ROOT.hex()}.safetensors"
    )
    assert role("other").fetch(store, CID, ROOT, META).path.read_bytes() == DATA


def test_two_roles_that_fetch_at_once_end_with_one_file(
    role: Callable[[str], VectorCache], store: Remote, tmp_path: Path
) -> None:
    ready = threading.Barrier(4)

    def fetch(name: str) -> bytes:
        cache = role(name)
        ready.wait()
        return cache.fetch(store, CID, ROOT, META).path.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fetch, "abcd")) == [DATA] * 4
    assert bytes_on_disk(tmp_path / "homes") == len(DATA)


def test_equal_models_that_two_roles_computed_are_one_file(
    role: Callable[[str], VectorCache], tmp_path: Path
) -> None:
    files = [role(name).write(ORIGIN.state(3), in_blocks(STATE)) for name in ("one", "other")]
    assert len({file.path.stat().st_ino for file in files}) == 1
    assert bytes_on_disk(tmp_path / "homes") == files[0].path.stat().st_size


def test_a_partys_update_is_not_shared_before_it_is_revealed(
    role: Callable[[str], VectorCache], tmp_path: Path
) -> None:
    party = role("party")
    update = party.write(META, in_blocks(VECTOR))
    assert not (tmp_path / "homes" / "shared").exists()
    party.share(update)
    assert shared_file(tmp_path).stat().st_ino == update.path.stat().st_ino


def test_what_all_roles_have_forgotten_is_not_kept_in_common(
    role: Callable[[str], VectorCache], store: Remote, tmp_path: Path
) -> None:
    caches = [role("one"), role("other")]
    for cache in caches:
        cache.fetch(store, CID, ROOT, META)
    caches[0].forget_rounds_before(4)
    assert shared_file(tmp_path).read_bytes() == DATA
    caches[1].forget_rounds_before(4)
    assert list((tmp_path / "homes" / "shared").iterdir()) == []


def test_on_a_full_disk_the_fetch_fails_and_leaves_nothing(
    role: Callable[[str], VectorCache], store: Remote, tmp_path: Path
) -> None:
    cache = role("one")
    with disk_with_room_for(len(DATA) // 2), pytest.raises(OSError, match="too large"):
        cache.fetch(store, CID, ROOT, META)
    assert [p for p in (tmp_path / "homes").rglob("*") if p.is_file()] == []
    assert cache.fetch(store, CID, ROOT, META).path.read_bytes() == DATA


def test_on_a_full_disk_what_another_role_has_can_still_be_taken(
    role: Callable[[str], VectorCache], store: Remote
) -> None:
    role("one").fetch(store, CID, ROOT, META)
    with disk_with_room_for(0):
        assert role("other").fetch(store, CID, ROOT, META).path.read_bytes() == DATA


# A store in a directory of the same file system


def test_a_file_of_a_local_store_is_linked_and_not_copied(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put(io.BytesIO(DATA))
    file = VectorCache(tmp_path / "home", MANIFEST).fetch(store, CID, ROOT, META)
    assert file.path.read_bytes() == DATA
    assert bytes_on_disk(tmp_path) == len(DATA)


def test_a_file_that_a_local_store_forgets_stays_where_it_is_used(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store", grace_seconds=0)
    store.put(io.BytesIO(DATA))
    file = VectorCache(tmp_path / "home", MANIFEST).fetch(store, CID, ROOT, META)
    store.unpin(CID)
    assert not store.has(CID)
    assert file.path.read_bytes() == DATA


def test_a_damaged_file_of_a_local_store_is_not_linked(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put(io.BytesIO(DATA))
    place = store.locate(CID)
    assert place is not None
    overwrite(place, DATA[:-1] + b"x")
    place.chmod(0o444)
    with pytest.raises(ContentCorrupt):
        VectorCache(tmp_path / "home", MANIFEST).fetch(store, CID, ROOT, META)
    assert list((tmp_path / "home").iterdir()) == []


def test_a_file_that_others_may_write_to_is_copied(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put(io.BytesIO(DATA))
    place = store.locate(CID)
    assert place is not None
    place.chmod(0o664)
    file = VectorCache(tmp_path / "home", MANIFEST).fetch(store, CID, ROOT, META)
    overwrite(place, b"other bytes")
    assert file.path.read_bytes() == DATA


def test_every_file_of_a_cache_and_a_store_is_read_only(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    cache = VectorCache(tmp_path / "home", MANIFEST)
    store.put_file(cache.write(ORIGIN.state(3), in_blocks(STATE)).path)
    cache.write(META, in_blocks(VECTOR))
    store.put(io.BytesIO(b"a manifest"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert all(not stat.S_IMODE(path.stat().st_mode) & 0o222 for path in files)
    # The model's two names are of one file, which others may read as far as the umask says.
    umask = os.umask(0o022)
    os.umask(umask)
    (model,) = (tmp_path / "home").glob("global-*")
    assert model.stat().st_nlink == 2
    assert stat.S_IMODE(model.stat().st_mode) == 0o444 & ~umask
