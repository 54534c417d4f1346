"""Output of all commands: JSON, numbers and tables, and a progress bar on stderr."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 110  # width of a complete table, characters

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def make_console() -> "Console":
    """Return a console as wide as the terminal or, for a pipe or a file, wide enough for a complete table."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    return console


def speak_plainly() -> None:
    """Make stdout and stderr write an escape sequence for each character that cannot be encoded, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def number(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a value and its interval as text with three significant digits, as in ``0.912 [0.88, 0.943]``; a dash for None."""
    if value is None:
        return "-"
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{value:.3g}{ends}"


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that updates a progress bar on stderr; the bar is shown only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, emoji=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(line, completed=done, total=total)
