"""Which thread fetches an update, and that what it finds or fails with does not depend on that."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.observations import SOME_CID

from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.content.store import ContentNotFound
from fl_orchestrator.model.vector_file import VectorMeta
from fl_orchestrator.roles.updates import UpdateFetches
from fl_orchestrator.roles.vectors import VectorFile

FILE = VectorFile(Path("update"), VectorMeta.genesis(), bytes(32))


def revealed(index: int) -> RevealedUpdate:
    return RevealedUpdate(1, f"0x{index:040x}", index, 1, bytes(32), SOME_CID)


@pytest.mark.parametrize("at_once", [True, False])
def test_only_where_no_source_is_slow_the_callers_thread_fetches(at_once: bool) -> None:
    threads: list[int] = []

    def get(update: RevealedUpdate, _stop: Callable[[], bool]) -> VectorFile:
        threads.append(threading.get_ident())
        if update.index == 1:
            raise ContentNotFound("it is not there")
        return FILE

    fetches = UpdateFetches(get, at_once)
    found = fetches.fetch([revealed(index) for index in range(3)])
    assert [type(one) for one in found] == [VectorFile, ContentNotFound, VectorFile]
    assert len(threads) == 3
    assert ({*threads} == {threading.get_ident()}) is at_once


def test_what_is_the_fault_of_this_machine_is_raised_where_the_caller_fetches() -> None:
    def get(_update: RevealedUpdate, _stop: Callable[[], bool]) -> VectorFile:
        raise MemoryError

    with pytest.raises(MemoryError):
        UpdateFetches(get, at_once=True).fetch([revealed(0)])


def test_what_failed_by_a_fault_of_this_machine_is_fetched_again_when_that_is_over() -> None:
    disk = {"full": True}

    def get(_update: RevealedUpdate, _stop: Callable[[], bool]) -> VectorFile:
        if disk["full"]:
            raise OSError(errno.EFBIG, "the disk is full")
        return FILE

    fetches = UpdateFetches(get)
    updates = [revealed(index) for index in range(3)]
    with pytest.raises(OSError, match="the disk is full"):
        fetches.fetch(updates)
    disk["full"] = False
    deadline = time.monotonic() + 10
    # Those that had not ended when the first one failed may fail too, each once.
    while True:
        try:
            assert fetches.fetch(updates) == [FILE] * 3
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
