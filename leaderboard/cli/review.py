"""``stemtwin review``: search for near-duplicate answers of different teams."""

from pathlib import Path
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json


def review(
    folder: Annotated[Path, typer.Argument(help="Folder with submissions, or runs of agents, as TEAM/NAME.")],
    output: Annotated[Path | None, typer.Option(help="Output file for requests for review, for 'stemtwin board --reviews'.")] = None,
    json: JsonFlag = False,
) -> None:
    """Find answers and actions of different teams that are too similar to be independent; a person must review them."""
    from stemtwin.leaderboard.review_checks import check_between_teams
    from stemtwin.leaderboard.reviews import write_reviews
    from stemtwin.twin.files import check_writable

    if output is not None:
        check_writable(output)
    found = check_between_teams(folder)
    if output is not None:
        write_reviews(output, found.reviews)
    if json:
        print_json({"reviews": [one.model_dump() for one in found.reviews], "compared": found.compared, "left_out": found.left_out})
        return
    for one in found.reviews:
        typer.echo(f"{one.team}/{one.name}: {one.text}")
    for text in found.left_out:
        typer.echo(f"not compared: {text}", err=True)
    typer.echo(f"{found.compared} submissions compared, {len(found.reviews)} reviews asked for" + ("" if output is None else f", written: {output}"))
