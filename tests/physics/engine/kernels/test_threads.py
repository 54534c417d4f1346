"""Work is spread over threads completely, safely, and without waiting for others."""

import os
import subprocess
import sys
import threading
import time

import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.engine.kernels import threads


def squares(count, *, number):
    """Return the squares of range(number), computed by ``count`` threads."""
    results = [None] * number

    def work(queue):
        for item in queue:
            results[item] = item**2

    threads.spread(work, range(number), threads=count)
    return results


@pytest.mark.parametrize("count", [1, 2, 7])
def test_everything_is_done_once(count):
    """Every item is drawn exactly once."""
    assert squares(count, number=1000) == [i**2 for i in range(1000)]


def test_at_once():
    """Two threads work at the same time: two items that wait for each other both end."""
    meeting = threading.Barrier(2, timeout=20)

    def work(queue):
        for _ in queue:
            meeting.wait()

    threads.spread(work, range(2), threads=2)
    assert not meeting.broken


def test_nested():
    """Work may spread work of its own, on any number of threads, without a deadlock."""
    totals = []

    def work(queue):
        for item in queue:
            totals.append(sum(squares(3, number=item)))

    threads.spread(work, range(20), threads=3)
    assert sorted(totals) == sorted(sum(i**2 for i in range(n)) for n in range(20))


def test_a_caller_does_not_wait_for_another():
    """A caller ends while all worker threads of the pool are still busy for another caller."""
    release, busy = threading.Event(), threading.Barrier(3, timeout=20)

    def slow(queue):
        for _ in queue:
            busy.wait()
            release.wait(20)

    other = threading.Thread(target=threads.spread, args=(slow, range(2)), kwargs={"threads": 2})
    other.start()
    busy.wait()
    start = time.monotonic()
    try:
        assert squares(2, number=50) == [i**2 for i in range(50)]
        assert time.monotonic() - start < 10
    finally:
        release.set()
        other.join(20)
    assert not other.is_alive()


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_stops_the_work(count):
    """The first error reaches the caller, and items that were not drawn are not processed."""
    done = []

    def work(queue):
        for item in queue:
            if item == 5:
                message = "five"
                raise RuntimeError(message)
            time.sleep(0.001)
            done.append(item)

    with pytest.raises(RuntimeError, match="five"):
        threads.spread(work, range(10_000), threads=count)
    assert len(done) < 1000
    assert squares(count, number=10) == [i**2 for i in range(10)]


def test_an_error_of_a_helper_reaches_the_caller():
    """An error in a worker thread is raised in the caller."""
    caller, meeting = threading.get_ident(), threading.Barrier(2, timeout=20)

    def work(queue):
        for _ in queue:
            meeting.wait()
            if threading.get_ident() != caller:
                message = "helper"
                raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="helper"):
        threads.spread(work, range(2), threads=2)


def test_thread_count(monkeypatch):
    """The number of threads is the environment's, or else what this process may use; anything but a whole number >= 1 is refused."""
    monkeypatch.setenv("STEMTWIN_THREADS", "3")
    assert threads.thread_count() == 3
    monkeypatch.delenv("STEMTWIN_THREADS")
    assert 1 <= threads.thread_count() <= os.cpu_count()
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("STEMTWIN_THREADS", wrong)
        with pytest.raises(SettingsError, match=r"STEMTWIN_THREADS.*whole number"):
            threads.thread_count()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_while_the_pool_is_in_use():
    """A child that was forked while helpers were busy and the pool's lock was held has a pool of its own."""
    program = """
import os, threading
from stemtwin.twin.physics.engine.kernels import threads
def work(queue):
    for item in queue:
        done.append(item)
done = []
threads.spread(work, range(10), threads=3)
threads._pool.lock.acquire()
child = os.fork()
if child == 0:
    done.clear()
    threads.spread(work, range(10), threads=3)
    os._exit(0 if sorted(done) == list(range(10)) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
