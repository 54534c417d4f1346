"""Jobs in worker processes, on this machine or on a Dask cluster: one job at a time per process, on one thread.

Processes are spawned, because numba's kernels and threads do not survive a fork. A worker ends when its parent process
ends for any reason. A job whose worker is killed is repeated by another worker.
"""

import importlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stemtwin.twin.errors import DatasetError

MOST_LOSSES = 3
"""Number of successive losses of workers, without a finished job in between, after which the build stops."""
WORKERLESS_S = 60.0
"""Longest wait for a cluster without workers, s."""
POLL_S = 1.0
"""Time between two checks of the workers of a cluster, s."""
ANSWER_S = 20.0
"""Longest wait for the response of a scheduler, s."""
THREADS = {"STEMTWIN_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_alone = threading.Lock()

Work = Callable[..., Any]


def in_processes(work: Work, jobs: Sequence[tuple[Any, ...]], workers: int, modules: Sequence[str] = ()) -> Iterator[int]:
    """Run jobs in worker processes on this machine.

    Parameters
    ----------
    work : callable
        Function at the top level of a module. It must do nothing if its job is already done.
    jobs : sequence of tuple
        Arguments of ``work`` for each job. They must support pickling.
    workers : int
        Number of processes.
    modules : sequence of str
        Modules that each process imports first, for example modules that register generators.

    Yields
    ------
    int
        Number of each finished job, in the order of completion.

    Raises
    ------
    DatasetError
        Worker processes were killed repeatedly. Errors of jobs are raised unchanged.
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
                    f"Worker processes were killed {losses} times before a specimen was finished; the usual cause is a lack of memory. "
                    "Run the command again with fewer workers; it continues from the finished specimens."
                )
                raise DatasetError(message) from None


def _one_pool(work: Work, jobs: dict[int, tuple[Any, ...]], workers: int, modules: Sequence[str]) -> Iterator[int]:
    """Run jobs until all are finished or a process is lost; yield the number of each finished job."""
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
        if not whole:  # an error occurred, or the caller stopped the iteration
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                if child.pid not in before:
                    child.kill()
        pool.shutdown(wait=True)


def _begin() -> None:
    """Prepare a worker process, which ignores keyboard interrupts and ends together with its parent."""
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
    """Run a pickled job in a worker process, one at a time and on one thread."""
    with _alone:
        _be_one_thread()
        for module in modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                message = f"A worker cannot import the generator's module {module}: {error}. Add its folder to PYTHONPATH, or install it."
                raise DatasetError(message) from None
        work(*pickle.loads(job))


def _be_one_thread() -> None:
    """Restrict all libraries in this process to one thread."""
    from threadpoolctl import threadpool_limits

    os.environ.update(THREADS)
    threadpool_limits(1)


def on_cluster(work: Work, jobs: Sequence[tuple[Any, ...]], scheduler: str, modules: Sequence[str] = ()) -> Iterator[int]:
    """Run jobs on a Dask cluster.

    Parameters
    ----------
    work, jobs, modules
        See :func:`in_processes`. Paths among the arguments must lie on disks that all workers share.
    scheduler : str
        Address of the scheduler, ``tcp://host:8786``.

    Yields
    ------
    int
        Number of each finished job, in the order of completion.

    Raises
    ------
    DatasetError
        The package ``distributed`` is not installed, the scheduler does not answer, the cluster has had no worker for a
        minute, or the same job repeatedly loses its worker. Errors of jobs are raised unchanged.
    """
    client = connect(scheduler)
    from distributed import CancelledError, KilledWorker

    try:
        numbers = {client.submit(_do, work, pickle.dumps(job), tuple(modules), pure=False): number for number, job in enumerate(jobs)}
        for future in _ended(client, set(numbers), scheduler):
            try:
                future.result()
            except (KilledWorker, CancelledError) as error:
                lost = "repeatedly lost its workers with the same specimen" if isinstance(error, KilledWorker) else "was shut down"
                message = f"The cluster at {scheduler} {lost}. Check its logs; the same command continues from the finished specimens."
                raise DatasetError(message) from None
            yield numbers[future]
    finally:
        client.close()


def connect(scheduler: str) -> Any:
    """Return a client of a Dask scheduler.

    Raises
    ------
    DatasetError
        The package ``distributed`` is not installed, the address is not valid, or no scheduler answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        message = "A build on a cluster needs the package 'distributed', which is not installed. Use pip install 'stemtwin[cluster]'."
        raise DatasetError(message) from None
    try:
        return Client(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = (
            f"No Dask scheduler answers at {scheduler} ({reason}). "
            "Give an address such as tcp://host:8786, and start a scheduler with 'dask scheduler'."
        )
        raise DatasetError(message) from None


def _ended(client: Any, pending: set[Any], scheduler: str) -> Iterator[Any]:
    """Yield futures as they finish; raise DatasetError if the cluster has no worker for too long."""
    import time

    from distributed import wait

    seen, again = time.monotonic(), "the same command continues from the finished specimens."
    while pending:
        try:
            with client.as_current():
                found: Any = wait(pending, timeout=POLL_S, return_when="FIRST_COMPLETED")
            done = found.done
            alive = bool(done) or bool(client.nthreads())
        except TimeoutError:
            done, alive = set(), bool(client.nthreads())
        except OSError as error:
            message = f"The scheduler at {scheduler} no longer answers ({error}). Start it again; {again}"
            raise DatasetError(message) from None
        seen = time.monotonic() if alive else seen
        if time.monotonic() - seen > WORKERLESS_S:
            message = f"The cluster at {scheduler} has had no worker for {WORKERLESS_S:.0f} s. Start a worker with 'dask worker {scheduler}'; {again}"
            raise DatasetError(message)
        yield from done
        pending = pending - done
