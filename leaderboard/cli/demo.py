"""``stemtwin demo``: demonstration of the whole workflow, from a structure to a board.

``--signals`` acquires all signals of one sample, ``--film`` films beam damage, and ``--led N`` measures the success
rate of silicon manipulation.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, make_console, print_json
from stemtwin.twin.files import check_writable

MOST_LED = 1000
"""Largest number of silicon-manipulation attempts."""


def demo(
    structure: Annotated[
        str | None,
        typer.Option(help="Structure file, or name of a library sample; by default srtio3-001.", metavar="FILE"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the output files.")] = Path("stemtwin-demo"),
    signals: Annotated[
        bool,
        typer.Option("--signals", help="Instead of the full demonstration, acquire all signals of SrTiO3 and save them in all formats."),
    ] = False,
    film: Annotated[
        bool,
        typer.Option(
            "--film", help="Instead of the full demonstration, film the growth of a hole in graphene and the manipulation of a silicon atom."
        ),
    ] = False,
    led: Annotated[
        int | None,
        typer.Option(
            "--led",
            help="Instead of the full demonstration, manipulate a silicon atom this many times, each with its own seed, and count the successes.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the whole workflow: images, a comparison of instruments, focusing, a dataset, scores and a board.

    The demonstration takes about two minutes and needs no network.
    """
    from stemtwin.twin.errors import SettingsError

    if film + signals + (led is not None) > 1:
        message = "--film, --signals and --led are separate demonstrations. Use only one of them."
        raise SettingsError(message)
    if led is not None:
        _led(led, structure, as_json=as_json)
        return
    if signals:
        _signals(structure, output, as_json=as_json)
        return
    if not film:
        _main_job(structure or "srtio3-001", output, as_json=as_json)
        return
    if structure is not None:
        message = f"--film shows only graphene, so --structure {structure} cannot be used with it. Leave out --film or --structure."
        raise SettingsError(message)
    _films(output, as_json=as_json)


def check_files(folder: Path, names: Iterable[str]) -> None:
    """Raise DatasetError, before any work begins, if a folder or one of the files in it cannot be written."""
    check_writable(folder, folder=True)
    for name in names:
        check_writable(folder / name)


def _progress(*, hidden: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<22}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True, emoji=False), disable=hidden)


def _stepwise(bar: Any, steps: Iterable[str]) -> tuple[list[Any], Callable[[int], Callable[[float], None]]]:
    """Return one line of the bar per step, and a function that starts a step and returns its progress callback."""
    lines = [bar.add_task(step, total=1.0, start=False) for step in steps]

    def tick(index: int) -> Callable[[float], None]:
        bar.start_task(lines[index])
        return lambda share: bar.update(lines[index], completed=share)

    return lines, tick


def _signals(structure: str | None, output: Path, *, as_json: bool) -> None:
    """Acquire all signals, save them, and print their evaluation."""
    from stemtwin.leaderboard.demos import signals as steps
    from stemtwin.twin.errors import SettingsError

    if structure is not None:
        message = f"--signals uses only srtio3-001, so --structure {structure} cannot be used with it. "
        message += "Leave out --signals or --structure."
        raise SettingsError(message)
    began = time.perf_counter()
    check_files(output, steps.FILES)
    with _progress(hidden=as_json) as bar:
        lines, tick = _stepwise(bar, steps.STEPS)
        taken = steps.take(steps.microscope(), tick(0))
        made, left_out = steps.save(taken, output, tick(1))
        bar.start_task(lines[2])
        found = steps.find(taken, output)
        made += [output / "found.json", steps.draw(taken, found, output / "signals.png")]
        bar.update(lines[2], completed=1.0)
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"made": [str(m) for m in made], "left_out": left_out, "found": dataclasses.asdict(found), "seconds": seconds})
        return
    console = make_console()
    for line in steps.told(found):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"made in {seconds:.0f} s:")
    for path in made:
        console.print(f"  {path}", markup=False, soft_wrap=True)
    for reason in left_out:
        console.print(f"left out: {reason}", markup=False, soft_wrap=True)


def _films(output: Path, *, as_json: bool) -> None:
    """Make the films and print their paths."""
    from stemtwin.leaderboard.demos.films import FILES, FILMS

    began, made, told = time.perf_counter(), [], []
    check_files(output, FILES)
    with _progress(hidden=as_json) as bar:
        lines = {name: bar.add_task(name, total=1.0, start=False) for name in FILMS}
        for name, make in FILMS.items():
            bar.start_task(lines[name])
            path, what = make(output, lambda share, line=lines[name]: bar.update(line, completed=share))
            made.append(str(path))
            told.append(what)
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"made": made, "said": told, "seconds": seconds})
        return
    console = make_console()
    console.print(f"made in {seconds:.0f} s:")
    for path, what in zip(made, told, strict=True):
        console.print(f"  {path}: {what}", markup=False, soft_wrap=True)


def _led(count: int, structure: str | None, *, as_json: bool) -> None:
    """Make silicon-manipulation attempts and print the outcome of each."""
    from stemtwin.leaderboard.demos import silicon_manipulation
    from stemtwin.twin.errors import SettingsError

    if structure is not None:
        message = f"--led makes attempts in graphene only, so --structure {structure} cannot be used with it. "
        message += "Leave out --led or --structure."
        raise SettingsError(message)
    if not 1 <= count <= MOST_LED:
        message = f"--led {count} is out of range. Use 1 to {MOST_LED} attempts; each takes about half a minute."
        raise SettingsError(message)
    with _progress(hidden=as_json) as bar:
        line = bar.add_task("silicon manipulation", total=float(count))
        ended = silicon_manipulation.attempts(count, lambda _: bar.advance(line))
    arrived = sum(each.arrived for each in ended)
    if as_json:
        print_json({"arrived": arrived, "attempts": [dataclasses.asdict(each) for each in ended]})
        return
    console = make_console()
    for each in ended:
        how = "success" if each.arrived else f"ended by {each.ended_by}" if each.ended_by else "out of time"
        told = f"{how} after {each.hops} hops, {each.parks} parked beams, {each.time_s:.0f} s"
        console.print(f"  seed {each.seed}: {told}", markup=False)
    console.print(f"{arrived} of {count} attempts succeeded")


def _main_job(structure: str, output: Path, *, as_json: bool) -> None:
    from stemtwin.leaderboard.demos import workflow as steps

    began = time.perf_counter()
    check_files(output, steps.FILES)
    check_writable(output / "runs", folder=True)
    steps.check_data()
    imaged, compared, notes = steps.load_fields(structure)
    with _progress(hidden=as_json) as bar:
        lines, tick = _stepwise(bar, steps.STEPS)
        made = steps.image_step(imaged, output, tick(0))
        bar.update(lines[0], completed=1.0)
        made += steps.instrument_step(compared, output, tick(1))
        bar.update(lines[1], completed=1.0)
        made += steps.focus_step(output, tick(2))
        bar.update(lines[2], completed=1.0)
        made.append(steps.data_step(tick(3)))
        bar.update(lines[3], completed=1.0)
        reports = steps.score_step(output, tick(4))
        bar.update(lines[4], completed=1.0)
    path, boards = steps.board_step(output, reports)
    made += [output / "runs", path]
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"made": [str(m) for m in made], "seconds": seconds, "boards": [dataclasses.asdict(b) for b in boards]})
        return
    _tell(notes, boards, made, seconds)


def _tell(notes: tuple[str, ...], boards: list[Any], made: list[Path], seconds: float) -> None:
    from stemtwin.leaderboard.cli.board import show

    console = make_console()
    for note in notes:
        console.print(f"note: {note}", style="dim", markup=False)
    console.print()
    for board in boards:
        show(board, console)
    console.print(f"made in {seconds:.0f} s:")
    for path in made:
        console.print(f"  {path}", markup=False, soft_wrap=True)
