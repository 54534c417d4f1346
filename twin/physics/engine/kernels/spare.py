"""Scratch that outlives a call: for thin specimens, fresh memory costs as much as the work in it."""

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from stemtwin.twin.physics.engine.kernels import threads

T = TypeVar("T")

SPARE_BYTES = 1 << 24
"""Scratch of at most so many bytes is kept for the next call."""


class Spare(Generic[T]):
    """Scratch of threads that are done, for the next ones that need the same size; of the size asked for last."""

    def __init__(self) -> None:
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Drop what is kept."""
        self._lock = threading.Lock()
        self._size: Hashable = None
        self._kept: list[T] = []

    def take(self, size: Hashable, make: Callable[[], T]) -> T:
        """Return kept scratch of a size, with what the last user left in it, or make it."""
        with self._lock:
            if self._kept and self._size == size:
                return self._kept.pop()
        return make()

    def put(self, size: Hashable, scratch: T, nbytes: int) -> None:
        """Keep scratch, unless it is large, or each thread has its own already."""
        if nbytes > SPARE_BYTES:
            return
        with self._lock:
            if self._size != size:
                self._size, self._kept = size, []
            if len(self._kept) < threads.thread_count():
                self._kept.append(scratch)


_all: "weakref.WeakSet[Spare]" = weakref.WeakSet()


def _forget() -> None:
    """Drop all scratch: after a fork, a lock may be held by a thread that is no more."""
    for each in _all:
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
