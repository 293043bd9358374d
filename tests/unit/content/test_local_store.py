"""The local content store: what it keeps, what it refuses, and what a crash leaves."""

import errno
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.disk import overwrite

from fl_orchestrator.content import local
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore, ReadOnlyStore
from fl_orchestrator.content.store import (
    ContentCorrupt,
    ContentNotFound,
    ContentTooLarge,
    StoreFull,
    StoreUnavailable,
)

CONTENT = hashlib.shake_128(b"content").digest((1 << 20) + 5)

on_one_directory = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def put(store: LocalStore, content: bytes) -> Cid:
    return store.put(io.BytesIO(content))


def read(store: LocalStore, cid: Cid, max_bytes: int = 1 << 30) -> bytes:
    with store.get(cid, max_bytes) as stream:
        return stream.read()


def files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


# Putting and getting


@on_one_directory
@given(seed=st.binary(max_size=8), size=st.one_of(st.integers(0, 9), st.integers(0, 3 << 20)))
def test_what_is_put_is_got_back_under_its_cid(store: LocalStore, seed: bytes, size: int) -> None:
    content = hashlib.shake_128(seed).digest(size)
    cid = put(store, content)
    assert cid == cid_of(io.BytesIO(content))
    assert store.has(cid)
    assert read(store, cid, max_bytes=size) == content


def test_putting_the_same_content_again_changes_nothing(store: LocalStore, tmp_path: Path) -> None:
    cid = put(store, CONTENT)
    assert put(store, CONTENT) == cid
    assert files(tmp_path / "store") == {f"pinned/{cid}"}


def test_only_what_is_left_of_a_stream_is_stored(store: LocalStore) -> None:
    stream = io.BytesIO(b"header and body")
    stream.seek(len(b"header "))
    assert read(store, store.put(stream)) == b"and body"


def test_a_file_is_found_by_every_store_on_the_directory(store: LocalStore, tmp_path: Path) -> None:
    cid = put(store, CONTENT)
    assert read(LocalStore(tmp_path / "store"), cid) == CONTENT


def test_content_that_is_not_there_is_reported(store: LocalStore) -> None:
    cid = cid_of(io.BytesIO(b"never stored"))
    assert not store.has(cid)
    with pytest.raises(ContentNotFound, match=str(cid)):
        store.get(cid, 100)
    with pytest.raises(ContentNotFound):
        store.pin(cid)
    store.unpin(cid)


@pytest.mark.parametrize("excess", [1, 1000])
def test_content_over_the_readers_limit_is_refused_before_it_is_read(
    store: LocalStore, excess: int
) -> None:
    cid = put(store, CONTENT)
    with pytest.raises(ContentTooLarge, match="allowed"):
        store.get(cid, len(CONTENT) - excess)


def test_content_over_the_stores_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, max_file_bytes=1000)
    put(store, bytes(1000))
    before = files(tmp_path)
    with pytest.raises(ContentTooLarge, match="1,000 bytes"):
        put(store, bytes(1001))
    assert files(tmp_path) == before


def test_an_endless_stream_is_refused_without_filling_memory(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, max_file_bytes=3 << 20)
    with Path("/dev/zero").open("rb") as endless, pytest.raises(ContentTooLarge):
        store.put(endless)
    assert files(tmp_path) == set()


# Verifying


def damage(store_directory: Path, cid: Cid, change: Callable[[bytearray], None]) -> None:
    path = store_directory / "pinned" / str(cid)
    content = bytearray(path.read_bytes())
    change(content)
    overwrite(path, content)


def read_in_pieces(stream: io.BufferedReader, size: int, into: bytearray) -> None:
    while piece := stream.read(size):
        into += piece


@on_one_directory
@given(
    position=st.one_of(st.integers(0, len(CONTENT) - 1), st.just(len(CONTENT) - 1)),
    bit=st.integers(0, 7),
    size=st.sampled_from([1 << 12, 1 << 16, 1 << 20, len(CONTENT), 1 << 24, -1]),
)
def test_a_flipped_bit_is_found_before_the_last_bytes_are_handed_out(
    store: LocalStore, tmp_path: Path, position: int, bit: int, size: int
) -> None:
    cid = put(store, CONTENT)

    def flip(content: bytearray) -> None:
        content[position] ^= 1 << bit

    damage(tmp_path / "store", cid, flip)
    got = bytearray()
    with store.get(cid, len(CONTENT)) as stream:
        with pytest.raises(ContentCorrupt, match=str(cid)):
            read_in_pieces(stream, size, got)
        assert len(got) < len(CONTENT)
        with pytest.raises(ContentCorrupt):
            stream.read()


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
@pytest.mark.parametrize("length", [0, 1, 1 << 20, (1 << 20) + 4, (1 << 20) + 6, 3 << 20])
def test_a_file_of_another_length_is_found(
    store: LocalStore, tmp_path: Path, content: bytes, length: int
) -> None:
    if length == len(content):
        return
    cid = put(store, content)
    overwrite((tmp_path / "store" / "pinned" / str(cid)), (content + bytes(4 << 20))[:length])
    with pytest.raises(ContentCorrupt):
        read(store, cid)


def test_a_file_that_grows_past_the_limit_while_it_is_read_is_refused(
    store: LocalStore, tmp_path: Path
) -> None:
    cid = put(store, CONTENT)
    with store.get(cid, len(CONTENT)) as stream:
        damage(tmp_path / "store", cid, lambda content: content.append(0))
        # A reader that knows the size does not look further: it is told before it has all.
        with pytest.raises(ContentTooLarge):
            stream.read(len(CONTENT))


def test_one_content_is_never_given_for_another(store: LocalStore, tmp_path: Path) -> None:
    asked, other = put(store, b"asked"), put(store, b"other")
    pinned = tmp_path / "store" / "pinned"
    (pinned / str(other)).replace(pinned / str(asked))
    with pytest.raises(ContentCorrupt):
        read(store, asked)


def test_putting_content_again_heals_a_damaged_file(store: LocalStore, tmp_path: Path) -> None:
    cid = put(store, CONTENT)
    damage(tmp_path / "store", cid, lambda content: content.reverse())
    put(store, CONTENT)
    assert read(store, cid) == CONTENT


@given(sizes=st.lists(st.integers(1, 400_000), min_size=1, max_size=10))
@on_one_directory
def test_a_stream_gives_the_same_bytes_however_it_is_read(
    store: LocalStore, sizes: list[int]
) -> None:
    cid = put(store, CONTENT)
    got = bytearray()
    with store.get(cid, len(CONTENT)) as stream:
        for size in sizes:
            buffer = bytearray(size)
            got += buffer[: stream.readinto(buffer)]
        got += stream.read()
        assert stream.read() == b""
    assert got == CONTENT


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_closing_a_stream_closes_the_file(store: LocalStore) -> None:
    cid = put(store, CONTENT)
    before = open_files()
    for _ in range(5):
        with store.get(cid, len(CONTENT)) as stream:
            stream.read(10)
        assert stream.closed
        with pytest.raises(ContentTooLarge):
            store.get(cid, 1)
    assert open_files() == before


# Pins and garbage


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_garbage_collection_takes_what_was_unpinned_a_grace_period_ago(
    store: LocalStore, tmp_path: Path
) -> None:
    old, young, kept = put(store, b"old"), put(store, b"young"), put(store, b"kept")
    store.unpin(old)
    store.unpin(young)
    for cid in (old, young, kept):
        folder = "pinned" if cid == kept else "unpinned"
        age(tmp_path / "store" / folder / str(cid), 3599 if cid == young else 3601)
    assert store.collect_garbage() == 1
    assert [store.has(cid) for cid in (old, young, kept)] == [False, True, True]


def test_the_grace_period_starts_when_content_is_unpinned(
    store: LocalStore, tmp_path: Path
) -> None:
    cid = put(store, b"stored long ago")
    age(tmp_path / "store" / "pinned" / str(cid), 1e6)
    store.unpin(cid)
    assert store.collect_garbage() == 0
    assert read(store, cid) == b"stored long ago"


@pytest.mark.parametrize("call", [lambda s: put(s, b"other"), lambda s: s.unpin(put(s, b"else"))])
def test_a_put_and_an_unpin_collect_garbage(
    store: LocalStore,
    tmp_path: Path,
    call: Callable[[LocalStore], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "_LOOK_AGAIN_SECONDS", 0.0)
    cid = put(store, b"old")
    store.unpin(cid)
    age(tmp_path / "store" / "unpinned" / str(cid), 3601)
    call(store)
    assert not store.has(cid)


def test_many_puts_look_for_garbage_once(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_LOOK_AGAIN_SECONDS", 3600.0)
    put(store, b"the first")
    looks: list[str] = []

    def look(name: str) -> int:
        looks.append(name)
        return 0

    monkeypatch.setattr(store, "_remove_older", look)
    for number in range(5):
        put(store, b"%d" % number)
    assert looks == []
    # What is not pinned may be removed.
    store.put(io.BytesIO(b"unpinned"), pin=False)
    assert looks == ["unpinned", "incoming"]


def test_what_is_put_unpinned_may_go_unless_it_is_pinned(store: LocalStore, tmp_path: Path) -> None:
    kept, dropped = put(store, b"kept"), store.put(io.BytesIO(b"dropped"), pin=False)
    assert store.put(io.BytesIO(b"kept"), pin=False) == kept
    assert read(store, dropped) == b"dropped"
    LocalStore(tmp_path / "store", grace_seconds=0).collect_garbage()
    assert files(tmp_path / "store") == {f"pinned/{kept}"}


def test_a_new_put_pins_content_that_was_about_to_go(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    cid = put(store, b"wanted again")
    store.unpin(cid)
    put(store, b"wanted again")
    LocalStore(tmp_path, grace_seconds=0).collect_garbage()
    assert read(store, cid) == b"wanted again"
    assert files(tmp_path) == {f"pinned/{cid}"}


def test_pinning_does_not_bring_a_damaged_copy_back(store: LocalStore, tmp_path: Path) -> None:
    cid = put(store, CONTENT)
    damage(tmp_path / "store", cid, lambda content: content.reverse())
    store.unpin(cid)
    put(store, CONTENT)
    store.pin(cid)
    assert read(store, cid) == CONTENT


def test_a_file_that_is_pinned_while_it_is_looked_for_is_found(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = put(store, b"moving")
    store.unpin(cid)
    folder_of, moved = store._folder, False

    @contextmanager
    def moves_after_the_first_look(name: str) -> Iterator[int]:
        nonlocal moved
        with folder_of(name) as descriptor:
            yield descriptor
        if not moved:
            moved = True
            LocalStore(tmp_path / "store").pin(cid)

    monkeypatch.setattr(store, "_folder", moves_after_the_first_look)
    assert read(store, cid) == b"moving"


operations = st.lists(
    st.tuples(st.sampled_from(["put", "pin", "unpin", "collect", "crash"]), st.integers(0, 3)),
    max_size=25,
)


@on_one_directory
@given(operations)
def test_pinned_content_survives_any_sequence_of_calls(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("store")
    store, impatient = LocalStore(directory), LocalStore(directory, grace_seconds=0)
    contents = [bytes([i]) * (i * 1000) for i in range(4)]
    cids = [cid_of(io.BytesIO(content)) for content in contents]
    pinned: set[int] = set()
    unpinned: set[int] = set()
    for operation, i in operations:
        if operation == "put":
            put(store, contents[i])
            pinned.add(i)
            unpinned.discard(i)
        elif operation == "crash":
            with pytest.raises(SourceBroke):
                store.put(BrokenStream(contents[i]))
        elif operation == "unpin":
            store.unpin(cids[i])
            if i in pinned:
                pinned.remove(i)
                unpinned.add(i)
        elif operation == "pin" and i in pinned | unpinned:
            store.pin(cids[i])
            pinned.add(i)
            unpinned.discard(i)
        elif operation == "collect":
            impatient.collect_garbage()
            unpinned.clear()
        for j in range(4):
            assert store.has(cids[j]) == (j in pinned | unpinned)
            if j in pinned:
                assert read(store, cids[j]) == contents[j]


# Interruptions


class SourceBroke(Exception):
    pass


class BrokenStream(io.BytesIO):
    """Gives its bytes, and then fails where it should end."""

    def __init__(self, content: bytes, error: BaseException | None = None) -> None:
        super().__init__(content)
        self._error = error or SourceBroke()

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        if not piece:
            raise self._error
        return piece


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "the source broke")])
def test_a_put_whose_source_fails_passes_the_error_on_and_leaves_nothing(
    store: LocalStore, tmp_path: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught:
        store.put(BrokenStream(CONTENT, error))
    assert caught.value is error
    assert files(tmp_path / "store") == set()


PUT_STDIN = """
import sys
from pathlib import Path
from fl_orchestrator.content.local import LocalStore
print(LocalStore(Path(sys.argv[1])).put(sys.stdin.buffer), flush=True)
"""


def test_a_killed_put_leaves_only_a_file_that_is_removed_once_it_is_old(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PUT_STDIN, str(tmp_path)], stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(CONTENT)
    process.stdin.flush()
    while not any(p.stat().st_size for p in tmp_path.glob("incoming/*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    process.stdin.close()

    (leftover,) = files(tmp_path)
    assert leftover.startswith("incoming/")
    store = LocalStore(tmp_path)
    # It might be the unfinished put of a living process: only age tells.
    assert files(tmp_path) == {leftover}
    cid = put(store, CONTENT)
    age(tmp_path / leftover, 3601)
    assert read(LocalStore(tmp_path), cid) == CONTENT
    assert files(tmp_path) == {f"pinned/{cid}"}


# A store that is full, or not to be used


PUT_WITHIN_A_LIMIT = """
import io, resource, sys
from pathlib import Path
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import StoreFull
store = LocalStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put(io.BytesIO(bytes(1 << 20)))
except StoreFull as error:
    print(error)
store.put(io.BytesIO(bytes(100_000)))
"""


def test_a_put_that_the_kernel_cuts_short_says_that_there_is_no_room(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUT_WITHIN_A_LIMIT, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "There is no room in the content store" in done.stdout
    assert files(tmp_path) == {f"pinned/{cid_of(io.BytesIO(bytes(100_000)))}"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_reported_and_leaves_nothing(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    kept = put(store, b"kept")

    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    target = {"write": "fl_orchestrator.content.local._write_all", "fsync": "os.fsync"}
    with monkeypatch.context() as patch:
        patch.setattr(target.get(call, "os.replace"), full)
        with pytest.raises(StoreFull, match="no room") as caught:
            put(store, CONTENT)
    assert caught.value.hint
    assert files(tmp_path / "store") == {f"pinned/{kept}"}
    assert read(store, put(store, CONTENT)) == CONTENT


def test_a_path_that_cannot_be_a_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        LocalStore(tmp_path / "file")


def test_a_store_whose_directory_vanished_is_reported(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        put(store, CONTENT)


def test_a_read_error_of_the_disk_is_reported(store: LocalStore, tmp_path: Path) -> None:
    cid = put(store, CONTENT)
    path = tmp_path / "store" / "pinned" / str(cid)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreUnavailable):
        read(store, cid)


# Several at a time


def put_and_collect(directory: str, worker: int) -> list[str]:
    store = LocalStore(Path(directory), grace_seconds=60)
    cids = []
    for i in range(8):
        shared, own = b"shared %d" % i * 5000, b"own %d %d" % (worker, i)
        cids += [str(put(store, shared)), str(put(store, own))]
        store.unpin(cid_of(io.BytesIO(b"own %d %d" % (worker, i - 1))))
        store.collect_garbage()
        assert read(store, Cid.parse(cids[-2])) == shared
    return cids


def test_processes_share_a_directory(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(put_and_collect, [str(tmp_path)] * 3, range(3)))
    store = LocalStore(tmp_path)
    for cid in {cid for result in results for cid in result}:
        assert cid_of(store.get(Cid.parse(cid), 1 << 20)) == Cid.parse(cid)
    assert not list((tmp_path / "incoming").iterdir())


def test_threads_put_the_same_content_at_the_same_time(store: LocalStore, tmp_path: Path) -> None:
    together = threading.Barrier(4)

    class Waiting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            together.wait(timeout=30)
            return super().read(size)

    def put_slowly(_: int) -> Cid:
        stream: BinaryIO = Waiting(CONTENT)
        return store.put(stream)

    with ThreadPoolExecutor(4) as pool:
        cids = set(pool.map(put_slowly, range(4)))
    assert files(tmp_path / "store") == {f"pinned/{cid}" for cid in cids}
    assert read(store, cids.pop()) == CONTENT
    assert not cids


def test_a_pipe_planted_under_a_cid_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    cid = cid_of(io.BytesIO(b"never stored"))
    os.mkfifo(tmp_path / "store" / "pinned" / str(cid))
    with pytest.raises(StoreUnavailable, match="not a regular file"):
        store.get(cid, 100)
    assert store.locate(cid) is None


# What others may have put into a shared directory

OLD_NAME = "ab" * 16


def plant(folder: Path, cid: Cid) -> dict[str, str]:
    """Old files, two of them with names that a store may delete."""
    folder.mkdir(exist_ok=True)
    for name in (OLD_NAME, str(cid), "notes.txt"):
        (folder / name).write_text("precious")
        age(folder / name, 1e6)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["incoming", "pinned", "unpinned"])
def test_a_folder_that_is_a_link_is_refused_and_nothing_behind_it_changes(
    store: LocalStore, tmp_path: Path, name: str
) -> None:
    cid = put(store, CONTENT)
    elsewhere = tmp_path / "elsewhere"
    before = plant(elsewhere, cid)
    (tmp_path / "store" / name).rename(tmp_path / "store" / "moved")
    (tmp_path / "store" / name).symlink_to(elsewhere)
    with pytest.raises(StoreUnavailable, match="link"):
        LocalStore(tmp_path / "store")
    calls: list[Callable[[], object]] = [
        lambda: put(store, b"more"),
        lambda: store.unpin(cid),
        lambda: store.collect_garbage(),
    ]
    for call in calls:
        with suppress(StoreUnavailable):
            call()
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == before


@pytest.mark.parametrize("folder", ["incoming", "unpinned"])
def test_only_files_with_names_of_the_stores_own_are_deleted(tmp_path: Path, folder: str) -> None:
    store = LocalStore(tmp_path / "store", grace_seconds=0)
    cid = cid_of(io.BytesIO(CONTENT))
    plant(tmp_path / "store" / folder, cid)
    own, kept = (OLD_NAME, str(cid)) if folder == "incoming" else (str(cid), OLD_NAME)
    store.collect_garbage()
    assert files(tmp_path / "store") == {f"{folder}/{kept}", f"{folder}/notes.txt"}
    assert own not in {path.name for path in (tmp_path / "store" / folder).iterdir()}


def test_a_link_with_the_name_of_content_is_neither_followed_nor_deleted(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store", grace_seconds=0)
    cid = cid_of(io.BytesIO(CONTENT))
    (tmp_path / "outside").write_bytes(CONTENT)
    age(tmp_path / "outside", 1e6)
    for folder in ("pinned", "unpinned"):
        (tmp_path / "store" / folder / str(cid)).symlink_to(tmp_path / "outside")
    assert not store.has(cid)
    assert store.locate(cid) is None
    with pytest.raises(StoreUnavailable, match="link"):
        store.get(cid, 1 << 30)
    age_before = (tmp_path / "outside").stat().st_mtime
    store.unpin(cid)
    store.collect_garbage()
    assert (tmp_path / "outside").stat().st_mtime == age_before
    assert (tmp_path / "outside").read_bytes() == CONTENT


def test_the_stores_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = LocalStore(tmp_path / "store")
    assert read(store, put(store, CONTENT)) == CONTENT


# A store that is only read


def test_a_read_only_store_gives_what_is_there_and_changes_nothing(
    store: LocalStore, tmp_path: Path
) -> None:
    cid, dropped = put(store, CONTENT), put(store, b"dropped")
    store.unpin(dropped)
    age(tmp_path / "store" / "unpinned" / str(dropped), 1e6)
    (tmp_path / "store" / "incoming").rmdir()
    before = files(tmp_path / "store")
    kept = ReadOnlyStore(tmp_path / "store")
    with kept.get(cid, 1 << 30) as stream:
        assert stream.read() == CONTENT
    assert kept.has(dropped)
    calls: list[Callable[[], object]] = [
        lambda: kept.put(io.BytesIO(b"more")),
        lambda: kept.pin(dropped),
        lambda: kept.unpin(cid),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match="opened read-only"):
            call()
    assert files(tmp_path / "store") == before
    assert not (tmp_path / "store" / "incoming").exists()


def test_a_read_only_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    nothing = ReadOnlyStore(tmp_path / "nowhere")
    assert not nothing.has(cid_of(io.BytesIO(CONTENT)))
    with pytest.raises(ContentNotFound):
        nothing.get(cid_of(io.BytesIO(CONTENT)), 100)
    assert not (tmp_path / "nowhere").exists()


# Files that are put and got by links


def names_of(directory: Path) -> int:
    """How many names the one file in a directory has."""
    (file,) = [path for path in directory.iterdir() if path.is_file()]
    return file.stat().st_nlink


@pytest.mark.parametrize("pin", [True, False])
def test_a_file_on_the_same_file_system_is_put_without_a_copy(
    store: LocalStore, tmp_path: Path, pin: bool
) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert store.put_file(file, pin=pin) == cid_of(io.BytesIO(CONTENT))
    assert read(store, cid_of(io.BytesIO(CONTENT))) == CONTENT
    assert names_of(tmp_path / "store" / ("pinned" if pin else "unpinned")) == 2


def test_an_old_file_that_is_put_unpinned_has_its_grace_period(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store", grace_seconds=100)
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    os.utime(file, (0, 0))
    assert store.has(store.put_file(file, pin=False))


def test_where_no_link_can_be_made_a_file_is_copied(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_file_system(*_: object, **_more: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    monkeypatch.setattr(os, "link", other_file_system)
    assert read(store, store.put_file(file)) == CONTENT
    assert names_of(tmp_path / "store" / "pinned") == 1
    assert not list((tmp_path / "store" / "incoming").iterdir())


def test_a_file_that_was_replaced_while_it_was_put_is_not_mistaken(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = tmp_path / "file", os.link
    file.write_bytes(CONTENT)

    def replaced_before(source: Path, *names: str, **more: Any) -> None:
        (tmp_path / "other").write_bytes(b"other bytes")
        (tmp_path / "other").replace(source)
        real(source, *names, **more)

    monkeypatch.setattr(os, "link", replaced_before)
    assert store.put_file(file) == cid_of(io.BytesIO(CONTENT))
    assert read(store, cid_of(io.BytesIO(CONTENT))) == CONTENT


def test_a_linked_file_over_the_stores_limit_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store", max_file_bytes=1000)
    file = tmp_path / "file"
    file.write_bytes(bytes(1001))
    with pytest.raises(ContentTooLarge):
        store.put_file(file)
    assert files(tmp_path / "store") == set()


def test_putting_a_file_again_heals_a_damaged_one(store: LocalStore, tmp_path: Path) -> None:
    cid = put(store, CONTENT)
    damage(tmp_path / "store", cid, lambda content: content.reverse())
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    store.put_file(file)
    assert read(store, cid) == CONTENT


def test_a_file_that_was_put_twice_can_be_unpinned_and_pinned(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    cid = store.put_file(file, pin=False)
    assert store.put_file(file) == cid
    store.unpin(cid)
    assert [p.parent.name for p in (tmp_path / "store").rglob(str(cid))] == ["unpinned"]
    store.pin(cid)
    assert [p.parent.name for p in (tmp_path / "store").rglob(str(cid))] == ["pinned"]


def test_a_content_that_is_not_there_is_not_linked(store: LocalStore, tmp_path: Path) -> None:
    assert not store.link(cid_of(io.BytesIO(CONTENT)), tmp_path / "here")
    assert not (tmp_path / "here").exists()
