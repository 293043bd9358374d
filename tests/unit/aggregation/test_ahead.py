"""Blocks that are computed while those before them are used."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_orchestrator.aggregation.ahead import ahead

Block = NDArray[np.int64]


def blocks(count: int, threads: list[str] | None = None) -> Iterator[Block]:
    for number in range(count):
        if threads is not None:
            threads.append(threading.current_thread().name)
        yield np.array([number])


@pytest.mark.parametrize("count", [0, 1, 8, 9, 10, 11, 50])
def test_all_blocks_come_in_their_order(count: int) -> None:
    assert [int(block[0]) for block in ahead(blocks(count))] == list(range(count))


def test_few_blocks_are_computed_without_a_thread() -> None:
    threads: list[str] = []
    list(ahead(blocks(8, threads)))
    assert set(threads) == {threading.current_thread().name}


def test_one_other_thread_computes_the_rest_of_many() -> None:
    threads: list[str] = []
    list(ahead(blocks(50, threads)))
    assert len(set(threads[8:])) == 1
    assert threads[8] != threading.current_thread().name


def test_an_error_is_raised_after_the_blocks_before_it() -> None:
    def failing() -> Iterator[Block]:
        yield from blocks(20)
        raise ValueError("the file ends")

    found = ahead(failing())
    assert [int(block[0]) for block in itertools.islice(found, 20)] == list(range(20))
    with pytest.raises(ValueError, match="the file ends"):
        next(found)


def test_what_nobody_takes_is_not_computed_far_ahead() -> None:
    threads: list[str] = []
    found = ahead(blocks(1_000, threads))
    assert len(list(itertools.islice(found, 20))) == 20
    found.close()  # type: ignore[attr-defined]
    assert len(threads) <= 23
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]
