"""The release files that seats name: those that nobody has, or that a store gives slowly."""

from __future__ import annotations

import errno
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles.aggregator.release_files import ReleaseFiles
from fl_orchestrator.roles.masked.words import MAX_FILES


class SlowStore(LocalStore):
    """Counts what is asked for, and gives some files only when it may."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.asked: Counter[Cid] = Counter()
        self.slow: set[Cid] = set()
        self.may = threading.Event()
        self.error: OSError | None = None

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        self.asked[cid] += 1
        if self.error is not None:
            raise self.error
        if cid in self.slow:
            self.may.wait(60)
        return super().get(cid, max_bytes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SlowStore]:
    made = SlowStore(tmp_path)
    yield made
    made.may.set()


def test_a_seat_that_names_slow_files_delays_no_other(store: SlowStore) -> None:
    store.slow = {store.put(io.BytesIO(bytes([n]))) for n in range(MAX_FILES)}
    honest = store.put(io.BytesIO(b"pieces"))
    limits = dict.fromkeys((*store.slow, honest), 100)
    files, began = ReleaseFiles(store), time.monotonic()
    assert files.fetch(limits, 0) == {honest: b"pieces"}
    # A second step does not wait for them again.
    del limits[honest]
    assert files.fetch(limits, 1) == {}
    assert time.monotonic() - began < 20
    store.may.set()
    deadline = time.monotonic() + 30
    while len(found := files.fetch(limits, 2)) < MAX_FILES:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert set(found) == store.slow
    assert set(store.asked.values()) == {1}


def test_a_file_that_nobody_has_is_asked_for_seldom_and_told_of_once(store: SlowStore) -> None:
    lost = cid_of(io.BytesIO(b"pieces"))
    files = ReleaseFiles(store)
    with capture_logs() as logs:
        for second in range(300):
            assert files.fetch({lost: 100}, second) == {}
    assert [log["event"] for log in logs] == ["a release cannot be had"]
    assert store.asked[lost] < 11
    # Whoever gives it later is heard.
    store.put(io.BytesIO(b"pieces"))
    assert files.fetch({lost: 100}, 400) == {lost: b"pieces"}


def test_a_file_that_is_larger_than_a_release_is_not_read(store: SlowStore) -> None:
    huge = store.put(io.BytesIO(bytes(101)))
    assert ReleaseFiles(store).fetch({huge: 100}, 0) == {}


def test_a_file_is_asked_for_again_when_the_disk_of_this_machine_has_room(store: SlowStore) -> None:
    pieces = store.put(io.BytesIO(b"pieces"))
    files = ReleaseFiles(store)
    store.error = OSError(errno.ENOSPC, "the disk is full")
    with pytest.raises(OSError, match="the disk is full"):
        files.fetch({pieces: 100}, 0)
    store.error = None
    assert files.fetch({pieces: 100}, 1) == {pieces: b"pieces"}
