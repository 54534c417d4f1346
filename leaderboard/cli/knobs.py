"""``stemtwin knobs``: change of every signal when a knob of the microscope is turned."""

from pathlib import Path
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, make_console, print_json

HEAD = "| knob | "
MARK = "<!-- written by `stemtwin knobs --page` -->"
END = "<!-- end -->"


def knobs(
    page: Annotated[Path | None, typer.Option("--page", help="Markdown page whose table is replaced; by default the table is printed.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the rms change of each signal for every knob, in per cent of the signal's mean; "-" marks changes that are not significant."""
    from rich.console import Console
    from rich.progress import track

    from stemtwin.twin.errors import SettingsError
    from stemtwin.twin.files import check_writable, write_atomically
    from stemtwin.twin.instrument.scope import knob_survey

    if page is not None and not (page.is_file() and MARK in page.read_text(encoding="utf-8", errors="replace")):
        message = f"{page} is not a page with a marked place for the table. "
        message += f"Give a Markdown file with the lines {MARK} and {END}."
        raise SettingsError(message)
    if page is not None:
        check_writable(page)
    console = make_console()
    bar, total = Console(stderr=True, emoji=False), len(knob_survey.knobs())
    turns = track(knob_survey.survey(), description="turning knobs", total=total, console=bar, disable=as_json)
    rows = {turn.knob: {signal: turn.change(signal) if turn.reaches(signal) else None for signal in knob_survey.SIGNALS} for turn in turns}
    if as_json:
        print_json(rows)
        return
    lines = [HEAD + " | ".join(knob_survey.SIGNALS) + " |", "|---|" + "---|" * len(knob_survey.SIGNALS)]
    lines += [f"| {knob} | " + " | ".join(_cell(change) for change in row.values()) + " |" for knob, row in rows.items()]
    table = "\n".join(lines)
    if page is None:
        console.print(table, markup=False, soft_wrap=True)
        return
    text = page.read_text(encoding="utf-8")
    before, after = text.split(MARK)[0], text.split(END, 1)[1]
    write_atomically(page, f"{before}{MARK}\n\n{table}\n\n{END}{after}".encode())
    console.print(f"{page}: {len(rows)} knobs, {len(knob_survey.SIGNALS)} signals", markup=False)


def _cell(change: float | None) -> str:
    return "-" if change is None else f"{100 * change:.3g}"
