"""BLAS is limited to one thread inside the blocks that request it, on any thread."""

import threading
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from stemtwin.twin.physics.engine.kernels import blas, threads


def counts() -> set[int]:
    """Return the numbers of threads that BLAS libraries have now."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_a_block_around_spread_blocks_holds_the_limit_to_the_end() -> None:
    """Blocks that end on any thread do not lift the limit of the block around them, which restores the earlier limit."""
    seen: list[set[int]] = []
    ready = threading.Barrier(2)

    def work(queue: Iterator[int]) -> None:
        for turn in queue:
            if not turn:
                ready.wait(20)
            with blas.one_thread():
                seen.append(counts())
            seen.append(counts())

    with threadpool_limits(2, user_api="blas"):
        before = counts()
        with blas.one_thread():
            threads.spread(work, [0, 0, 1, 1, 1], threads=2)
            seen.append(counts())
        assert counts() == before
    assert len(seen) == 11
    assert all(found == {1} for found in seen)


def test_an_error_lifts_the_limit() -> None:
    """A block that ends by an error gives the threads back; blocks may lie in each other."""
    before = counts()

    def fail() -> None:
        with blas.one_thread(), blas.one_thread():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert counts() == before
