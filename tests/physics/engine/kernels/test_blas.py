"""BLAS on one thread: in every thread that asks for it, as long as any does."""

import threading

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from stemtwin.twin.physics.engine.kernels import blas


def counts() -> set[int]:
    """Return the numbers of threads that BLAS libraries have now."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blocks_that_overlap_hold_the_limit_to_the_last() -> None:
    """The first block to end does not lift the limit of one that goes on in another thread; the last one puts back what was there."""
    entered, leave = threading.Event(), threading.Event()

    def longer() -> None:
        with blas.one_thread():
            entered.set()
            leave.wait(20)

    with threadpool_limits(2, user_api="blas"):
        before = counts()
        other = threading.Thread(target=longer)
        with blas.one_thread():
            other.start()
            assert entered.wait(20)
        try:
            assert counts() == {1}
        finally:
            leave.set()
            other.join()
        assert counts() == before


def test_an_error_lifts_the_limit() -> None:
    """A block that ends by an error gives the threads back; blocks may lie in each other."""
    before = counts()
    with pytest.raises(ZeroDivisionError), blas.one_thread(), blas.one_thread():
        assert counts() == {1}
        raise ZeroDivisionError
    assert counts() == before
