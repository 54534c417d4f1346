"""A shared pool of threads, which is recreated after a fork, is safe for concurrent callers and does not influence results.

The calling thread always takes part in the work, so a caller never waits for the work of another caller. An item of work
may itself spread work over threads.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from stemtwin.twin.errors import SettingsError

T = TypeVar("T")


def thread_count() -> int:
    """Return the number of threads to use: ``$STEMTWIN_THREADS`` if set, else the number of CPUs of this process.

    Raises
    ------
    SettingsError
        ``STEMTWIN_THREADS`` is not a whole number >= 1.
    """
    asked = os.environ.get("STEMTWIN_THREADS", "").strip()
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) < 1:
        message = f"STEMTWIN_THREADS={asked!r} is not a number of threads. Use a whole number >= 1, or unset it to use all {os.cpu_count()} CPUs."
        raise SettingsError(message)
    return int(asked)


class _Pool:
    """The worker threads of this process, started at their first use."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop the worker threads without shutting them down: in a forked child they do not exist."""
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None
        self.size = 0

    def submit(self, count: int, work: Callable[[], None]) -> list:
        """Submit the work to ``count`` worker threads; return the futures."""
        with self.lock:
            if self.executor is None or self.size < count:
                if self.executor is not None:
                    self.executor.shutdown(wait=False)
                self.executor, self.size = ThreadPoolExecutor(count, thread_name_prefix="stemtwin"), count
            return [self.executor.submit(work) for _ in range(count)]


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


class _Shared(Generic[T]):
    """An iterator from which several threads draw and which any of them can close."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()
        self._open = True

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._lock:
            if not self._open:
                raise StopIteration
            return next(self._items)

    def close(self) -> None:
        with self._lock:
            self._open = False


def spread(work: Callable[[Iterator[T]], None], items: Iterable[T], *, threads: int | None = None) -> None:
    """Run ``work(queue)`` on several threads that draw from one queue of ``items``, and wait until all have finished.

    Parameters
    ----------
    work : callable
        Takes an iterator and processes each item that it draws. It allocates its own buffers before the first item.
        The result of an item must not depend on the thread that draws it.
    items : iterable
        Items of work.
    threads : int, optional
        Largest number of threads, including the caller's; ``thread_count()`` by default.

    Raises
    ------
    Exception
        The first error that ``work`` raised; items that were not yet drawn are not processed.
    """
    threads = thread_count() if threads is None else threads
    queue = _Shared(items)

    def guarded() -> None:
        try:
            work(queue)
        except BaseException:
            queue.close()
            raise

    helpers = _pool.submit(threads - 1, guarded) if threads > 1 else []
    try:
        guarded()
    finally:
        queue.close()
        running = [helper for helper in helpers if not helper.cancel()]
        errors = [helper.exception() for helper in running]
    for error in errors:
        if error is not None:
            raise error
