"""Progress of long work on stderr: a bar on a terminal, regular lines in a pipe or a file."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

import typer

QUIET_S = 10.0
"""Longest time between two lines in a pipe, s."""
STEP, LEAST_S = 0.1, 2.0
"""Fraction of the work after which a line is written to a pipe, and shortest time between two lines, s."""
LOOK_S = 0.25
"""Time between two readings of the progress, s."""


@dataclass(slots=True, kw_only=True)
class WorkState:
    """Progress of a running computation.

    Parameters
    ----------
    total : int
        Total number of waves; 0 means unknown.
    seconds : float, optional
        Planned time, s.
    """

    total: int
    seconds: float | None
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def advance(self, count: int) -> None:
        """Add the number of waves completed since the last call."""
        self.done += count

    @property
    def elapsed(self) -> float:
        """Time since the start, s."""
        return time.monotonic() - self.began

    @property
    def share(self) -> float:
        """Completed fraction of the waves, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def phase(self) -> str:
        """Current phase of the work, as text."""
        if not self.total:
            return "computing"
        if not self.done:
            return "preparing the specimen"
        return "waves" if self.done < self.total else "adding up"

    @property
    def left(self) -> str:
        """Remaining time, estimated from the speed so far, as text; empty if there is no estimate."""
        if not 0.02 <= self.share < 1:
            return ""
        return f", {span(self.elapsed * (1 / self.share - 1))} left"

    def line(self) -> str:
        """Return the state of the work as one line."""
        share = f"{self.share:4.0%}" if self.total else "  - "
        return f"{share}  {self.phase}, {span(self.elapsed)} of about {span(self.seconds)}{self.left}" if self.seconds else self._unplanned(share)

    def _unplanned(self, share: str) -> str:
        return f"{share}  {self.phase}, {span(self.elapsed)}{self.left}"


def span(seconds: float) -> str:
    """Return a duration as text, for example ``4.2 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextlib.contextmanager
def counted_steps(unit: str, *, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function (done, total, text) that reports steps on stderr: a bar on a terminal, otherwise a line after each tenth of the work.

    Parameters
    ----------
    unit : str
        Name of the steps, in the plural.
    quiet : bool
        Whether to report nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, emoji=False)
    if quiet or not console.is_terminal:
        yield _silent if quiet else tenth_lines(unit)
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)


def _silent(done: int, total: int, text: str) -> None:
    """Report nothing."""


@contextlib.contextmanager
def shown(total: int, seconds: float | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number of newly completed waves; until the ``with`` block ends, report the progress on stderr.

    Parameters
    ----------
    total : int
        Total number of waves; 0 means unknown.
    seconds : float, optional
        Planned time, s.
    """
    stream = typer.get_text_stream("stderr")
    state, over = WorkState(total=total, seconds=seconds), threading.Event()
    show = _bar if stream.isatty() else _lines
    watcher = threading.Thread(target=show, args=(state, over, stream), daemon=True)
    watcher.start()
    try:
        yield state.advance
    finally:
        over.set()
        watcher.join()
    typer.echo(f"100%  done in {span(state.elapsed)}", err=True)


def _lines(state: WorkState, over: threading.Event, stream: TextIO) -> None:
    """Write a line for each tenth of the work, and one after each long silence."""
    last, share = state.began, 0.0
    while not over.wait(LOOK_S):
        since = time.monotonic() - last
        if since >= QUIET_S or (since >= LEAST_S and state.share >= share + STEP):
            last, share = time.monotonic(), state.share
            stream.write(state.line() + "\n")
            stream.flush()


def _bar(state: WorkState, over: threading.Event, stream: TextIO) -> None:
    """Draw a bar that disappears when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=stream, emoji=False)
    with Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task(state.line(), total=1.0 if state.total else None)
        while not over.wait(LOOK_S):
            bar.update(task, completed=state.share, description=state.line())


def tenth_lines(unit: str) -> Callable[[int, int, str], None]:
    """Return a function (done, total, text) that writes a line to stderr at the start and after each tenth of the work.

    Parameters
    ----------
    unit : str
        Name of the counted objects in the plural.
    """
    began, told = time.monotonic(), -1

    def tell(done: int, total: int, text: str) -> None:
        nonlocal told
        tenth = 10 * done // total if total else 10
        if tenth > told:
            told = tenth
            typer.echo(f"{done} of {total} {unit}, {span(time.monotonic() - began)}: {text}", err=True)

    return tell
