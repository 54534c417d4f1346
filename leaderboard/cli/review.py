"""``stemtwin review``: search for near-duplicate answers of different teams, and for suspiciously good answers to honeypots."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from stemtwin.leaderboard.review_checks import Load


def review(
    folder: Annotated[Path, typer.Argument(help="Folder that contains submissions or runs of agents as TEAM/NAME.")],
    output: Annotated[Path | None, typer.Option(help="Output file for the review requests, which 'stemtwin board --reviews' reads.")] = None,
    event: Annotated[
        Path | None, typer.Option(help="Folder of the event to which the submissions belong; its hidden rows and honeypots are used.")
    ] = None,
    secret: Annotated[
        Path | None, typer.Option(help="Folder of the event's secrets; by default EVENT-secret beside the folder of the event.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Find answers or actions of different teams that are too similar to be independent, and good answers to unanswerable rows."""
    from stemtwin.leaderboard.review_checks import check_between_teams
    from stemtwin.leaderboard.reviews import write_reviews
    from stemtwin.twin.files import check_writable

    if output is not None:
        check_writable(output)
    found = check_between_teams(folder, None if event is None else _hidden_rows(event, secret))
    if output is not None:
        write_reviews(output, found.reviews)
    if json:
        print_json({"reviews": [one.model_dump() for one in found.reviews], "compared": found.compared, "left_out": found.left_out})
        return
    for one in found.reviews:
        typer.echo(f"{one.team}/{one.name}: {one.text}")
    for text in found.left_out:
        typer.echo(f"not compared: {text}", err=True)
    typer.echo(f"{found.compared} submissions compared, {len(found.reviews)} reviews requested" + ("" if output is None else f", written: {output}"))


def _hidden_rows(event: Path, secret: Path | None) -> "Load":
    """Return a function (task, header) that loads the hidden rows of an event."""
    from stemtwin.leaderboard.events.folders import open_organiser
    from stemtwin.leaderboard.events.jury import hidden_rows
    from stemtwin.leaderboard.events.scoring import Truths

    organiser = open_organiser(event, secret)
    return hidden_rows(organiser.event, Truths(organiser.keys, organiser.secret / "data", lambda text: typer.echo(text, err=True)))
