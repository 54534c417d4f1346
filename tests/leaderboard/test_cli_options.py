"""Values that no option takes: every option of every command, drawn from the commands themselves, ends in one sentence about options."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer
from rich.emoji import Emoji

from stemtwin.leaderboard.cli.main import COMMANDS, build, main, options_of

BAD = {
    "float": ("nan", "-1", "inf", "1e30", "word", ""),
    "int": ("-1", "999999999999999", "1.5", "word"),
    "str": ("", "word", "-1", "x=1", "[bold]"),
    "Path": ("", "file/inside", "x" * 300, "/proc/self/nowhere"),
}
"""Values by the kind of an option; some of them are right for some options."""
GIVEN = {
    "demo": (),
    "image": ("srtio3-001", "--size=4", "--thickness=4", "--points=8", "--detectors=haadf"),
    "warm": ("stemtwin/HypothesisTest-v1",),
    "certify": ("atoms-2d@1",),
    "compare": ("image.npy", "--sample=srtio3-001"),
    "film": ("stemtwin/HypothesisTest-v1",),
    "damage": ("C",),
    "task": ("autofocus",),
    "eval": ("autofocus", "--baseline=oracle"),
    "submit": ("report.json",),
    "review": ("nowhere",),
    "build": ("atoms-2d@1",),
    "fetch": ("atoms-2d@1",),
    "verify": ("atoms-2d", "--size=tiny", "--folder=nowhere"),
    "describe": ("atoms-2d", "described", "--size=tiny", "--folder=nowhere"),
    "publish": ("atoms-2d", "mirror", "--size=tiny", "--folder=nowhere"),
    "pack": ("image.tif", "--task=atoms-2d", "--name=films", "--labels-by=none"),
    "inputs": ("atoms-2d@1", "handed", "--size=tiny", "--folder=nowhere"),
    "witness": ("atoms-2d@1",),
    "episodes": ("stemtwin/HypothesisTest-v1",),
    "new": ("fresh-event", "--environment=hypothesis-test:1"),
    "seal": ("nowhere",),
    "open": ("nowhere",),
    "predict": ("nowhere", "--task=denoise", "--output=answers/team/name", "--baseline=counts"),
    "check": ("nowhere",),
    "score": ("nowhere",),
    "serve": ("nowhere",),
    "freeze": ("nowhere",),
    "jury": ("nowhere",),
    "close": ("nowhere",),
    "withdraw": ("nowhere", "team/name", "--reason=It was a trial."),
    "disqualify": ("nowhere", "team", "--reason=It read the truth."),
    "correct": ("nowhere", "denoise", "--reason=The truth was wrong."),
}
"""Arguments that each command needs."""
HEAVY = (
    "stemtwin.twin.instrument.simulation.simulate.simulate",
    "stemtwin.twin.instrument.simulation.certify.certify",
    "stemtwin.twin.instrument.scope.knob_survey.survey",
    "stemtwin.benchmarks.runner.run_agent",
    "stemtwin.benchmarks.runner.predict",
    "stemtwin.benchmarks.returns.play",
    "stemtwin.benchmarks.micrograph_twin.compare",
    "stemtwin.datasets.generate.specimen_rows",
    "stemtwin.leaderboard.cli.warm_jobs.run",
    "stemtwin.leaderboard.events.creation.write_secrets",
    "stemtwin.leaderboard.demos.workflow.image_step",
    "stemtwin.leaderboard.demos.signals.take",
    "stemtwin.leaderboard.demos.silicon_manipulation.attempts",
)
"""Work that begins once everything is accepted."""
PYTHON = re.compile(r"(?<![-\w])[a-z][a-z0-9_]*=|_angstrom|_mrad|_ev\b|\bst\.|zone_axis")
"""What an argument of a Python function looks like."""


class WorkBegunError(Exception):
    """Stand for the work of a command."""


@pytest.fixture(autouse=True)
def no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with a board and data of its own, and end where the work would begin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMTWIN_DATABASE", str(tmp_path / "board.db"))
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("STEMTWIN_DATA_URL", raising=False)
    (tmp_path / "file").write_bytes(b"x")

    def begin(*_: Any, **__: Any) -> NoReturn:
        raise WorkBegunError

    for name in HEAVY:
        monkeypatch.setattr(name, begin)


def commands(name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the command of each command of that name, groups resolved."""
    command = typer.main.get_command(build(name)).commands[name]
    for inner in getattr(command, "commands", {}).values():
        yield (name, inner.name), inner
    if not hasattr(command, "commands"):
        yield (name,), command


def kind_of(command: Any, parameter: Any) -> str:
    """Return the kind of values that a parameter takes, by the annotation of the command's function."""
    written = str(inspect.signature(command.callback).parameters[parameter.name].annotation)
    return next(kind for kind in ("float", "int", "Path", "str") if re.search(rf"\b{kind}\b", written))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the sentence in which a command line ends; nothing where it is accepted."""
    try:
        code = main(words)
    except WorkBegunError:
        code = 0
    told = capsys.readouterr().err
    assert "Traceback" not in told, words
    if code == 0:
        return ""
    assert code in (1, 2), words
    *_, line = told.splitlines()
    assert line.startswith("stemtwin: "), (words, told)
    assert told.count("stemtwin: ") == 1, (words, told)
    assert line.endswith((".", "?")), (words, line)
    return line


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_values_of_every_option_are_one_sentence_about_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers out of range or not finite, absurd words, places that cannot be written: exit code 1 or 2, one line, no argument of Python in it.

    At least a third of the values of numbers are refused: the draw is one of bad values.
    """
    refusals = {}
    for words, command in commands(name):
        for parameter in command.params:
            if parameter.param_type_name != "option" or parameter.is_flag:
                continue
            for value in BAD[kind_of(command, parameter)]:
                line = refused([*words, *GIVEN.get(words[-1], ()), f"{max(parameter.opts, key=len)}={value}"], capsys)
                said = line.replace(value, "") if value else line
                assert not PYTHON.search(said), (words, parameter.name, value, line)
                refusals[*words, parameter.name, value] = bool(line)
    numbers = [made for (*_, value), made in refusals.items() if value in BAD["float"][:4]]
    assert sum(numbers) >= len(numbers) / 3
    assert {place.name for place in Path.cwd().iterdir()} <= {"file", "board.db", "data"}


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_that_are_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every argument of every command takes words that mean nothing, empty ones, folders and devices with one sentence."""
    for words, command in commands(name):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        for value in ("word", "", "srtio3-01", ".", "/dev/null", "x" * 300, "file/inside", "[bold]") if arguments else ():
            others = GIVEN.get(words[-1], ())[1:]
            line = refused([*words, value, *others], capsys)
            assert line or words in (("data", "list"), ("event", "new")), (words, value)
            assert not PYTHON.search(line.replace(value, "") if value else line), (words, value, line)


@pytest.mark.parametrize(
    ("text", "options", "typed", "expected"),
    [
        ("size='x' is unknown", {"size": "--size"}, (), "--size 'x' is unknown"),
        ("engine='prism' needs slice_thickness_angstrom above 2", {}, (), "engine 'prism' needs slice thickness above 2"),
        ("A smaller outer_mrad or semiangle_mrad takes less", {}, (), "A smaller outer angle or convergence angle takes less"),
        ("a.cif and /tmp/size_angstrom.cif: seed=3", {"seed": "--seed"}, (), "a.cif and /tmp/size_angstrom.cif: --seed 3"),
        ("split='a=b' is none", {"split": "--split"}, ("eval", "a=b"), "--split 'a=b' is none"),
        ("like Ti=0.07,O=0.09; --size=nan; STEMTWIN_X=1", {}, (), "like Ti=0.07,O=0.09; --size=nan; STEMTWIN_X=1"),
    ],
)
def test_messages_in_options(text: str, options: dict[str, str], typed: tuple[str, ...], expected: str) -> None:
    """Arguments become options where the command has them, and plain words elsewhere; typed words, paths and variables stay."""
    from stemtwin.leaderboard.cli.structure_options import in_options

    assert in_options(text, options, typed) == expected


def test_requests_are_spoken_of_in_their_own_keys() -> None:
    """``stemtwin certify`` writes an argument as the key of a TOML file."""
    from stemtwin.leaderboard.cli.structure_options import in_toml

    assert in_toml("phonons='x' is wrong. Give grid=(3, 3) or engine=.") == "phonons = 'x' is wrong. Give grid = (3, 3) or engine."


def test_options_are_read_from_the_commands() -> None:
    """The options of a command, and of the commands in a group, are known by their parameters."""
    assert options_of("image")["zone_axis"] == "--zone-axis"
    assert options_of("image")["output"] == "--output"
    assert options_of("data")["regenerate"] == "--regenerate"
    assert options_of("nothing") == {}


def shown(command: Any) -> Iterator[str]:
    """Give the texts that ``--help`` of a command and of those below it shows."""
    yield command.help or ""
    yield from (one.help or "" for one in command.params if hasattr(one, "help"))
    for below in getattr(command, "commands", {}).values():
        yield from shown(below)


def test_help_is_shown_as_it_is_written() -> None:
    """No part of a help text is a name of a picture, as ``:100:`` is: the terminal would show the picture."""
    texts = [text for name in COMMANDS for text in shown(typer.main.get_command(build(name)))]
    assert len(texts) > 100
    assert [text for text in texts if Emoji.replace(text) != text] == []
