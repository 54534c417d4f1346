"""Output of all commands: JSON for machines, numbers and tables for people, a progress bar on stderr."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 110  # characters that a whole table needs

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def make_console() -> "Console":
    """Return a console as wide as the terminal, or, into a pipe or a file, wide enough for a whole table."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    return console


def speak_plainly() -> None:
    """Let standard output write a character that its encoding lacks as an escape, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def number(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a value to three digits with its interval, as ``0.912 [0.88, 0.943]``; a dash where there is no value."""
    if value is None:
        return "-"
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{value:.3g}{ends}"


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[int, int], None]]:
    """Return a function (done, all) that moves a bar on stderr; nothing is drawn where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, emoji=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(line, completed=done, total=total)
