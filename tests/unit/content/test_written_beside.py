"""What is written by another thread, while its caller makes what comes next."""

from __future__ import annotations

import io
import threading
import time

import pytest

from fl_orchestrator.content.beside import written_beside
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.store import HashingWriter

PIECES = [bytes([number]) * 1_000 for number in range(50)]


class Slow(io.BytesIO):
    """Notes its threads; from some piece on, writing fails."""

    def __init__(self, fails_at: int | None = None, seconds: float = 0.0) -> None:
        super().__init__()
        self.threads: list[str] = []
        self._fails_at = fails_at
        self._seconds = seconds

    def write(self, data: object, /) -> int:
        if len(self.threads) == self._fails_at:
            raise OSError(28, "No space left on device")
        self.threads.append(threading.current_thread().name)
        time.sleep(self._seconds)
        return super().write(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 50])
def test_all_pieces_are_written_in_their_order(count: int) -> None:
    file = io.BytesIO()
    hashed = HashingWriter(file)
    with written_beside(hashed) as stream:
        for piece in PIECES[:count]:
            assert stream.write(memoryview(piece)) == len(piece)
    assert file.getvalue() == b"".join(PIECES[:count])
    assert hashed.cid() == cid_of(io.BytesIO(file.getvalue()))


def test_few_pieces_are_written_without_a_thread() -> None:
    file = Slow()
    with written_beside(HashingWriter(file)) as stream:
        for piece in PIECES[:4]:
            stream.write(piece)
    assert set(file.threads) == {threading.current_thread().name}


def test_one_other_thread_writes_the_rest_of_many() -> None:
    file = Slow()
    with written_beside(HashingWriter(file)) as stream:
        for piece in PIECES:
            stream.write(piece)
    assert len(set(file.threads[4:])) == 1
    assert file.threads[4] != threading.current_thread().name
    assert file.threads[4] not in {thread.name for thread in threading.enumerate()}


def test_few_pieces_wait_for_a_slow_disk() -> None:
    file = Slow(seconds=0.002)
    with written_beside(HashingWriter(file)) as stream:
        for given, piece in enumerate(PIECES):
            stream.write(piece)
            assert given - len(file.threads) <= 5


@pytest.mark.parametrize("fails_at", [2, 10, 49])
def test_a_full_disk_is_reported_whoever_writes(fails_at: int) -> None:
    with (  # noqa: PT012 (the last pieces fail at the end of the block)
        pytest.raises(OSError, match="No space left"),
        written_beside(HashingWriter(Slow(fails_at))) as stream,
    ):
        for piece in PIECES:
            stream.write(piece)


def test_an_error_of_the_caller_ends_the_thread() -> None:
    file = Slow(seconds=0.002)
    with (  # noqa: PT012
        pytest.raises(ValueError, match="the caller's"),
        written_beside(HashingWriter(file)) as stream,
    ):
        for piece in PIECES[:10]:
            stream.write(piece)
        raise ValueError("the caller's")
    written = len(file.threads)
    time.sleep(0.02)
    assert len(file.threads) == written
