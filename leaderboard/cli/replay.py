"""``stemtwin replay``: replay of the recorded episodes of a run."""

from pathlib import Path
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json, progress


def replay(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, with report.json and episodes.json.")],
    keys: Annotated[Path | None, typer.Option(help="File with the published keys of an event, which are needed to replay hidden episodes.")] = None,
    json: JsonFlag = False,
) -> None:
    """Replay the recorded episodes of a run, and compare observations, truth, cost and score with the record."""
    import dataclasses

    from stemtwin.benchmarks.replays import replay_run
    from stemtwin.benchmarks.seed_keys import read_keys

    secrets = None if keys is None else read_keys(keys)
    with progress(f"replay of {folder}") as tick:
        found = replay_run(folder, keys=secrets, progress=tick)
    if json:
        print_json(dataclasses.asdict(found))
    else:
        typer.echo(found.text)
