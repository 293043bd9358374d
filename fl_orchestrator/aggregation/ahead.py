"""Blocks that one thread computes while another writes and hashes those before them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from numpy.typing import NDArray

# The first blocks: if there are no more, a thread is not worth it.
_WITHOUT_THREAD: Final = 8
# So many blocks wait at most.
_WAITING: Final = 2

_Block = TypeVar("_Block", bound=NDArray[Any])


def ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """Yield the blocks as they are. From some block on, a thread computes the next ones meanwhile.

    Only one thread at a time is in ``blocks``. Raises what it raises, in its place; whoever closes
    this iterator waits until the thread has ended.
    """
    from concurrent.futures import ThreadPoolExecutor

    yield from itertools.islice(blocks, _WITHOUT_THREAD)
    with ThreadPoolExecutor(1, "ahead") as thread:
        waiting = deque(thread.submit(next, blocks, None) for _ in range(_WAITING))
        while (block := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, blocks, None))
            yield block
