"""Reuse of scratch memory between calls: for thin specimens, allocating fresh memory takes as long as the computation."""

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from stemtwin.twin.physics.engine.kernels import threads

T = TypeVar("T")

SPARE_BYTES = 1 << 24
"""Largest scratch memory of one thread that is kept for the next call, bytes."""


class Spare(Generic[T]):
    """Scratch memory of finished threads, kept for later threads that need the same size.

    Only scratch memory of the most recently returned size is kept.
    """

    def __init__(self) -> None:
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Release all kept scratch memory."""
        self._lock = threading.Lock()
        self._size: Hashable = None
        self._kept: list[T] = []

    def take(self, size: Hashable, make: Callable[[], T]) -> T:
        """Return kept scratch memory of a size, with the contents from its last use, or the result of ``make`` if there is none."""
        with self._lock:
            if self._kept and self._size == size:
                return self._kept.pop()
        return make()

    def put(self, size: Hashable, scratch: T, nbytes: int) -> None:
        """Keep scratch memory of ``nbytes`` bytes, unless it exceeds 16 MiB or enough is already kept for all threads."""
        if nbytes > SPARE_BYTES:
            return
        with self._lock:
            if self._size != size:
                self._size, self._kept = size, []
            if len(self._kept) < threads.thread_count():
                self._kept.append(scratch)


_all: "weakref.WeakSet[Spare]" = weakref.WeakSet()


def _forget() -> None:
    """Release all scratch memory: after a fork, a thread that does not exist in the child may hold a lock."""
    for each in _all:
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
