"""BLAS on one thread: sums of products then have the same bits whatever the number of threads, and tasks on threads of their own do not crowd."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator

from threadpoolctl import ThreadpoolController


class _Holders:
    """The number of blocks that hold BLAS to one thread now, in any thread: the limit is of the process, so the last one lifts it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: after a fork, blocks of other threads never end."""
        self.lock = threading.Lock()
        self.count = 0
        self.limit = contextlib.ExitStack()


_holders = _Holders()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_holders.forget)


@functools.cache
def _controller() -> ThreadpoolController:
    """Return the controller of the libraries that are loaded now, numpy's BLAS among them: to look for them takes milliseconds."""
    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold numpy's BLAS to one thread inside the block; blocks may overlap in several threads."""
    with _holders.lock:
        if not _holders.count:
            _holders.limit.enter_context(_controller().limit(limits=1, user_api="blas"))
        _holders.count += 1
    try:
        yield
    finally:
        with _holders.lock:
            _holders.count -= 1
            if not _holders.count:
                _holders.limit.close()
