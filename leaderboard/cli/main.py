"""The command ``stemtwin``: finds the command that was asked for, runs it, and turns what goes wrong into one sentence and an exit code.

Exit codes: 0 right, 1 wrong input (a ``StemtwinError``, or a file that cannot be read or written), 2 misuse (an
unknown command or flag), 130 interrupted.

A command lives in a module of its own, which is imported only when that command is asked for: ``stemtwin --help`` imports none of them.
"""

import contextlib
import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import speak_plainly
from stemtwin.twin.errors import StemtwinError
from stemtwin.twin.files import FULL

COMMANDS = {  # name: (module, function or Typer in it, one line for the help)
    "demo": ("stemtwin.leaderboard.cli.demo", "demo", "From a structure to a board: image, focus, build data, score, submit."),
    "image": ("stemtwin.leaderboard.cli.image", "image", "Make a picture of any structure file."),
    "certify": ("stemtwin.leaderboard.cli.certify", "certify", "Compare a request, or rows of a dataset, with abTEM, and check the convergence."),
    "compare": ("stemtwin.leaderboard.cli.compare", "compare", "Show a measured micrograph beside the twin at matched conditions."),
    "warm": ("stemtwin.leaderboard.cli.warm", "warm", "Compile all kernels and build what environments need, the evening before."),
    "list": ("stemtwin.leaderboard.cli.listing", "listing", "What there is: samples, detectors, profiles, tasks, datasets, environments, baselines."),
    "film": ("stemtwin.leaderboard.cli.film", "film", "Film an episode: image, actions, dose, budget, return and score."),
    "knobs": ("stemtwin.leaderboard.cli.knobs", "knobs", "Turn every knob of the microscope and print how much each signal changes."),
    "damage": ("stemtwin.leaderboard.cli.damage", "damage", "Displacement cross-sections against beam energy, with their sources."),
    "data": ("stemtwin.leaderboard.cli.data", "app", "Build, fetch and verify datasets."),
    "task": ("stemtwin.leaderboard.cli.task", "task", "Show the card of a task."),
    "eval": ("stemtwin.leaderboard.cli.evaluate", "evaluate", "Run a baseline, an agent or predictions on a task and score it."),
    "replay": ("stemtwin.leaderboard.cli.replay", "replay", "Play the episodes of a run again and compare everything."),
    "submit": ("stemtwin.leaderboard.cli.submit", "submit", "Enter a submission or a report on the board, or hand it in to an event."),
    "review": ("stemtwin.leaderboard.cli.review", "review", "Compare answers between teams: near-duplicates that a person has to look at."),
    "board": ("stemtwin.leaderboard.cli.board", "board", "Show the board."),
    "event": ("stemtwin.leaderboard.cli.event", "app", "Hold an event: make it, open it, score, freeze, close, verify."),
}

ARGUMENT = re.compile(r"for '\[?([A-Z_]+)\]?:\[[^\]]*\]'")
"""Arguments with their choices, as typers before 0.27 name them in errors."""
INTERRUPTED = 130
"""Exit code of a command that the user stopped: 128 and the number of the signal, as shells have it."""


def build(wanted: str | None = None) -> typer.Typer:
    """Return the application with one command loaded and the others by name and help line only.

    Parameters
    ----------
    wanted : str, optional
        The command to load.
    """
    app = typer.Typer(
        name="stemtwin",
        help="A digital twin of a scanning transmission electron microscope, and a benchmark suite.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, (module, attribute, text) in COMMANDS.items():
        thing = getattr(importlib.import_module(module), attribute) if name == wanted else _placeholder
        if isinstance(thing, typer.Typer):
            app.add_typer(thing, name=name, help=text)
        else:
            app.command(name, help=text if name != wanted else None)(thing)
    return app


def _placeholder() -> None:
    """Stand for a command that this call did not ask for."""


def _version(shown: bool) -> None:
    """Print the version and stop."""
    if shown:
        from stemtwin.benchmarks.report import version

        typer.echo(f"stemtwin {version()}")
        raise typer.Exit


def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Take the options that come before a command."""
    del version


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error that is the user's is one sentence on stderr.

    Parameters
    ----------
    arguments : sequence of str
        The words after ``stemtwin``.
    """
    speak_plainly()
    words = list(arguments) or ["--help"]
    wanted = next((word for word in words if not word.startswith("-")), None)
    try:
        code = build(wanted)(words, standalone_mode=False, prog_name="stemtwin")
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        code = _explained(error, wanted, words)
        if code is None:  # a fault of ours, which needs its traceback
            raise
        return code
    if code == INTERRUPTED:  # newer typers make it of a KeyboardInterrupt, without a word
        return _say("Interrupted.", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _explained(error: Exception, wanted: str | None, words: Sequence[str]) -> int | None:
    """Print the repair of an error, and return the exit code; None where it is none of the user's."""
    if isinstance(error, StemtwinError):
        return _say(_in_options(str(error), wanted, words), 1)
    if isinstance(error, OSError):
        return _explained_by_system(error)
    format_message = getattr(error, "format_message", None)
    if format_message is None:  # no misuse of the command line
        return None
    text = ARGUMENT.sub(lambda found: f"for '{found[1].lower()}'", format_message()).replace("Value error, ", "")
    if not text:  # a group without a command has shown its help
        return 0
    stop = "" if text.endswith((".", "?")) else "."
    return _say(f"{text}{stop} See 'stemtwin {wanted + ' ' if wanted in COMMANDS else ''}--help'.", 2)


def _explained_by_system(error: OSError) -> int | None:
    """Print the repair of an error of the system, and return the exit code; None where no file of the user's is concerned."""
    if error.errno == errno.EPIPE:  # who reads the output has seen enough, as 'head' does
        return _closed()
    if error.filename is not None:
        return _say(f"{error.filename}: {error.strerror}. Check the path, and that it may be read or written.", 1)
    return _say(f"The output cannot be written: {error.strerror}. Free space there.", _closed(1)) if error.errno in FULL else None


def _in_options(text: str, wanted: str | None, words: Sequence[str]) -> str:
    """Return a message of the library in the words of a command."""
    from stemtwin.leaderboard.cli.structure_options import OPTIONS, in_options, in_toml

    if wanted == "certify":
        return in_toml(text)
    own = {name: flag for name, flag in options_of(wanted).items() if flag.startswith("--")}
    return in_options(text, own | {name: flag for name, flag in OPTIONS.items() if flag in own.values()}, words)


def options_of(wanted: str | None) -> dict[str, str]:
    """Return the options of a command and of those in its group, by the names of their parameters."""
    found: list[Any] = [getattr(typer.main.get_command(build(wanted)), "commands", {}).get(wanted)]
    options: dict[str, str] = {}
    while found:
        command = found.pop()
        found += getattr(command, "commands", {}).values()
        for parameter in getattr(command, "params", ()):
            if parameter.param_type_name == "option":
                options[parameter.name] = max(parameter.opts, key=len)
    return options


def _closed(code: int = 128 + 13) -> int:
    """Leave what is not written yet to nowhere, so that Python does not try again at its end; return the exit code, by default that of SIGPIPE."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return code


def _say(text: str, code: int) -> int:
    """Print one line on stderr and return the exit code."""
    typer.echo(f"stemtwin: {' '.join(text.split())}", err=True)
    return code


def run() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(main(sys.argv[1:]))
