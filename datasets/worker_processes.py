"""Jobs in processes of their own, on this machine or on a Dask cluster: one job a process at a time, one thread each.

Processes are spawned, because kernels of numba and threads do not live through a fork; each ends when the process that spawned it does, however
that ends. A job whose process is ended from outside is done again by another one.
"""

import importlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stemtwin.twin.errors import DatasetError

MOST_LOSSES = 3
"""Ended processes one after another, without a job that was done, after which the build stops."""
WORKERLESS_S = 60.0
"""Longest wait for a cluster that has no worker, s."""
POLL_S = 1.0
"""Time between two looks at the workers of a cluster."""
ANSWER_S = 20.0
"""Longest wait for the answer of a scheduler, s."""
THREADS = {"STEMTWIN_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_alone = threading.Lock()

Work = Callable[..., Any]


def in_processes(work: Work, jobs: Sequence[tuple[Any, ...]], workers: int, modules: Sequence[str] = ()) -> Iterator[int]:
    """Do jobs in processes of this machine.

    Parameters
    ----------
    work : callable
        Function of a module; it does nothing where its job is done already.
    jobs : sequence of tuple
        Arguments of each call, which can be pickled.
    workers : int
        Number of processes.
    modules : sequence of str
        Modules that a process imports first, such as those that register generators.

    Yields
    ------
    int
        The number of each job that is done, in the order in which they end.

    Raises
    ------
    DatasetError
        Processes are ended from outside again and again; what jobs raise comes as it is.
    """
    from concurrent.futures.process import BrokenProcessPool

    left, losses = dict(enumerate(jobs)), 0
    while left:
        try:
            for number in _one_pool(work, left, workers, modules):
                del left[number]
                losses = 0
                yield number
        except BrokenProcessPool:
            losses += 1
            if losses == MOST_LOSSES:
                message = (
                    f"Worker processes were ended from outside {losses} times without a finished specimen, often for lack of memory. "
                    "Run the command again with fewer workers; it goes on where it was."
                )
                raise DatasetError(message) from None


def _one_pool(work: Work, jobs: dict[int, tuple[Any, ...]], workers: int, modules: Sequence[str]) -> Iterator[int]:
    """Do jobs until they are done or a process is lost; yield the number of each that is done."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    context = multiprocessing.get_context("spawn")
    before = {child.pid for child in multiprocessing.active_children()}
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_begin)
    whole = False
    try:
        numbers = {pool.submit(_do, work, pickle.dumps(job), tuple(modules)): number for number, job in jobs.items()}
        for future in as_completed(numbers):
            future.result()
            yield numbers[future]
        whole = True
    finally:
        if not whole:  # an error, or nobody wants the rest
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                if child.pid not in before:
                    child.kill()
        pool.shutdown(wait=True)


def _begin() -> None:
    """Prepare a process: one thread, deaf to the keyboard, and bound to the life of its parent."""
    import multiprocessing
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _do(work: Work, job: bytes, modules: Sequence[str]) -> None:
    """Do a pickled job in a worker, one at a time in its process, which works on one thread from then on."""
    with _alone:
        _be_one_thread()
        for module in modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                message = f"A worker cannot import {module}, which makes the specimens: {error}. Put its folder into PYTHONPATH, or install it."
                raise DatasetError(message) from None
        work(*pickle.loads(job))


def _be_one_thread() -> None:
    """Let everything in this process work on one thread."""
    from threadpoolctl import threadpool_limits

    os.environ.update(THREADS)
    threadpool_limits(1)


def on_cluster(work: Work, jobs: Sequence[tuple[Any, ...]], scheduler: str, modules: Sequence[str] = ()) -> Iterator[int]:
    """Do jobs on a Dask cluster.

    Parameters
    ----------
    work, jobs, modules
        See :func:`in_processes`; paths among the arguments lie on disks that all workers share.
    scheduler : str
        Address of the scheduler, ``tcp://host:8786``.

    Yields
    ------
    int
        The number of each job that is done, in the order in which they end.

    Raises
    ------
    DatasetError
        The package is not installed; the scheduler does not answer, or has no workers for a minute; or workers are lost with the same job again
        and again. What jobs raise comes as it is.
    """
    client = connect(scheduler)
    from distributed import CancelledError, KilledWorker

    try:
        numbers = {client.submit(_do, work, pickle.dumps(job), tuple(modules), pure=False): number for number, job in enumerate(jobs)}
        for future in _ended(client, set(numbers), scheduler):
            try:
                future.result()
            except (KilledWorker, CancelledError) as error:
                lost = "lost its workers with the same specimen again and again" if isinstance(error, KilledWorker) else "was shut down"
                message = f"The cluster at {scheduler} {lost}. See its logs; the same command goes on where this one was."
                raise DatasetError(message) from None
            yield numbers[future]
    finally:
        client.close()


def connect(scheduler: str) -> Any:
    """Return a client of a Dask scheduler.

    Raises
    ------
    DatasetError
        The package is not installed, the address is none, or nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        message = "A build on a cluster needs the package distributed, which is not installed. Use pip install 'stemtwin[cluster]'."
        raise DatasetError(message) from None
    try:
        return Client(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"No Dask scheduler answers at {scheduler} ({reason}). Give an address such as tcp://host:8786, and start one by 'dask scheduler'."
        raise DatasetError(message) from None


def _ended(client: Any, pending: set[Any], scheduler: str) -> Iterator[Any]:
    """Yield futures as they end; raise DatasetError where the cluster has no worker for too long."""
    import time

    from distributed import wait

    seen, again = time.monotonic(), "the same command goes on where this one was."
    while pending:
        try:
            with client.as_current():
                found: Any = wait(pending, timeout=POLL_S, return_when="FIRST_COMPLETED")
            done = found.done
            alive = bool(done) or bool(client.nthreads())
        except TimeoutError:
            done, alive = set(), bool(client.nthreads())
        except OSError as error:
            message = f"The scheduler at {scheduler} does not answer any more ({error}). Start it anew; {again}"
            raise DatasetError(message) from None
        seen = time.monotonic() if alive else seen
        if time.monotonic() - seen > WORKERLESS_S:
            message = f"The cluster at {scheduler} has had no worker for {WORKERLESS_S:.0f} s. Start one by 'dask worker {scheduler}'; {again}"
            raise DatasetError(message)
        yield from done
        pending = pending - done
