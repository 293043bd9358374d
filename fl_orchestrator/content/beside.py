"""A stream that another thread writes to, while its caller makes what comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from fl_orchestrator.content.store import HashingWriter

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

# The first pieces: if there are no more, a thread is not worth it.
_WITHOUT_THREAD: Final = 4
# So many pieces wait at most.
_WAITING: Final = 4


@contextmanager
def written_beside(stream: HashingWriter) -> Iterator[BinaryIO]:
    """A stream whose pieces, from some piece on, one thread writes to ``stream`` in their order.

    Nobody may change a piece after it was given. At the end of the block all are written. What a
    write raises is raised by a later one, or at the end of the block.
    """
    with ExitStack() as threads:
        beside = _Beside(stream, threads)
        yield cast("BinaryIO", beside)
        beside.finish()


class _Beside:
    def __init__(self, stream: HashingWriter, threads: ExitStack) -> None:
        self._stream = stream
        self._threads = threads
        self._thread: Executor | None = None
        self._direct = 0
        self._waiting: deque[Future[int]] = deque()

    def write(self, data: bytes | memoryview, /) -> int:
        if self._direct < _WITHOUT_THREAD:
            self._direct += 1
            return self._stream.write(data)
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = self._threads.enter_context(ThreadPoolExecutor(1, "write"))
        if len(self._waiting) == _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._stream.write, data))
        return memoryview(data).nbytes

    def finish(self) -> None:
        """Wait until all is written."""
        while self._waiting:
            self._waiting.popleft().result()
