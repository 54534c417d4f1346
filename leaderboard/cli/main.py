"""Entry point of the command ``stemtwin``: dispatch of subcommands, error messages of one sentence, exit codes.

The exit codes are 0 for success, 1 for wrong input (a ``StemtwinError``, or a file that cannot be read or written),
2 for misuse (an unknown command or flag) and 130 for an interrupted command.

Each command has its own module, which is imported only when the command runs; ``stemtwin --help`` imports none of them.
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
    "demo": ("stemtwin.leaderboard.cli.demo", "demo", "Run the whole workflow: images, focusing, a dataset, scores and a board."),
    "image": ("stemtwin.leaderboard.cli.image", "image", "Compute images, diffraction patterns or spectra of any structure file."),
    "certify": ("stemtwin.leaderboard.cli.certify", "certify", "Compare stemtwin with abTEM on a request or a dataset, and test convergence."),
    "compare": ("stemtwin.leaderboard.cli.compare", "compare", "Compare a measured micrograph with the twin at matched conditions."),
    "warm": ("stemtwin.leaderboard.cli.warm", "warm", "Compile all kernels and build the operators of environments in advance."),
    "list": ("stemtwin.leaderboard.cli.listing", "listing", "List samples, detectors, profiles, tasks, datasets, environments and baselines."),
    "film": ("stemtwin.leaderboard.cli.film", "film", "Write an episode as a GIF: images, actions, dose, budget, return and score."),
    "knobs": ("stemtwin.leaderboard.cli.knobs", "knobs", "Print the change of each signal for every knob of the microscope."),
    "damage": ("stemtwin.leaderboard.cli.damage", "damage", "Print displacement cross-sections at several beam energies, with their sources."),
    "data": ("stemtwin.leaderboard.cli.data", "app", "Build, fetch and verify datasets."),
    "task": ("stemtwin.leaderboard.cli.task", "task", "Show the card of a task."),
    "eval": ("stemtwin.leaderboard.cli.evaluate", "evaluate", "Evaluate a baseline, an agent, a program or predictions on a task."),
    "replay": ("stemtwin.leaderboard.cli.replay", "replay", "Replay the recorded episodes of a run and compare the results with the record."),
    "submit": ("stemtwin.leaderboard.cli.submit", "submit", "Enter a submission or a report on the board, or hand it in to an event."),
    "review": ("stemtwin.leaderboard.cli.review", "review", "Find near-duplicate answers of different teams for review by a person."),
    "board": ("stemtwin.leaderboard.cli.board", "board", "Show the board (leaderboard): one table for each task and dataset."),
    "event": ("stemtwin.leaderboard.cli.event", "app", "Run an event such as a hackathon, from its settings to a verified archive."),
}

ARGUMENT = re.compile(r"for '\[?([A-Z_]+)\]?:\[[^\]]*\]'")
"""Pattern of an argument with its choices in error messages of typer before version 0.27."""
INTERRUPTED = 130
"""Exit code of a command that the user stopped: 128 plus the number of the signal, as in shells."""


def build(wanted: str | None = None) -> typer.Typer:
    """Return the application with one command loaded; each other command has only its name and its help line.

    Parameters
    ----------
    wanted : str, optional
        Name of the command to load.
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
    """Do nothing, in place of a command whose module is not loaded."""


def _version(shown: bool) -> None:
    """Print the version and stop."""
    if shown:
        from stemtwin.benchmarks.report import version

        typer.echo(f"stemtwin {version()}")
        raise typer.Exit


def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Accept the options before a command."""
    del version


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every user error is printed as one sentence on stderr.

    Parameters
    ----------
    arguments : sequence of str
        Words of the command line after ``stemtwin``.
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
        if code is None:  # a bug in stemtwin, which needs its traceback
            raise
        return code
    if code == INTERRUPTED:  # newer versions of typer return it for a KeyboardInterrupt, without a message
        return _say("Interrupted.", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _explained(error: Exception, wanted: str | None, words: Sequence[str]) -> int | None:
    """Print the message of a user error and return the exit code, or None for any other error."""
    if isinstance(error, StemtwinError):
        return _say(_in_options(str(error), wanted, words), 1)
    if isinstance(error, OSError):
        return _explained_by_system(error)
    format_message = getattr(error, "format_message", None)
    if format_message is None:  # not a misuse of the command line
        return None
    text = ARGUMENT.sub(lambda found: f"for '{found[1].lower()}'", format_message()).replace("Value error, ", "")
    if not text:  # a group without a command has printed its help
        return 0
    stop = "" if text.endswith((".", "?")) else "."
    return _say(f"{text}{stop} See 'stemtwin {wanted + ' ' if wanted in COMMANDS else ''}--help'.", 2)


def _explained_by_system(error: OSError) -> int | None:
    """Print the message of a system error and return the exit code, or None if the error does not concern a file of the user."""
    if error.errno == errno.EPIPE:  # the reader of the output has closed the pipe, as 'head' does
        return _closed()
    if error.filename is not None:
        return _say(f"{error.filename}: {error.strerror}. Check the path, and that it may be read or written.", 1)
    return _say(f"The output cannot be written: {error.strerror}. Free space there.", _closed(1)) if error.errno in FULL else None


def _in_options(text: str, wanted: str | None, words: Sequence[str]) -> str:
    """Return a message of the library with argument names replaced by the options of a command."""
    from stemtwin.leaderboard.cli.structure_options import OPTIONS, in_options, in_toml

    if wanted == "certify":
        return in_toml(text)
    own = {name: flag for name, flag in options_of(wanted).items() if flag.startswith("--")}
    return in_options(text, own | {name: flag for name, flag in OPTIONS.items() if flag in own.values()}, words)


def options_of(wanted: str | None) -> dict[str, str]:
    """Return a mapping from parameter names to options such as ``--size``, for a command and its subcommands."""
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
    """Discard pending output, which Python would write again at exit; return the exit code, by default SIGPIPE's."""
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
