"""BLAS on one thread: sums of products then have the same bits whatever the number of threads, and tasks on threads of their own do not crowd."""

import contextlib
import functools

from threadpoolctl import ThreadpoolController


@functools.cache
def _controller() -> ThreadpoolController:
    """Return the controller of the libraries that are loaded now, numpy's BLAS among them: to look for them takes milliseconds."""
    return ThreadpoolController()


def one_thread() -> contextlib.AbstractContextManager:
    """Return a block with numpy's BLAS on one thread. Who spreads such blocks over threads holds one around them all: a limit is the process's."""
    return _controller().limit(limits=1, user_api="blas")
