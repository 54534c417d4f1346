"""Limitation of BLAS to one thread: results then do not depend on the thread count, and tasks do not oversubscribe the CPUs."""

import contextlib
import functools

from threadpoolctl import ThreadpoolController


@functools.cache
def _controller() -> ThreadpoolController:
    """Return the controller of the libraries that are loaded now, including numpy's BLAS; cached, because the search takes milliseconds."""
    return ThreadpoolController()


def one_thread() -> contextlib.AbstractContextManager:
    """Return a context in which numpy's BLAS runs on one thread.

    The limit applies to the whole process. If several threads need the limit at the same time, one context must be
    entered around all of them.
    """
    return _controller().limit(limits=1, user_api="blas")
