"""``stemtwin film``: animated GIF of an episode."""

from pathlib import Path
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json


def film(
    environment: Annotated[str, typer.Argument(help="Id of an environment with a goal, for example stemtwin/Autofocus-v2.")],
    agent: Annotated[str, typer.Option(help="Baseline that plays the episode, for example expert, random, blind, no-op or oracle.")] = "expert",
    difficulty: Annotated[str, typer.Option(help="Difficulty preset, for example easy, standard or hard.")] = "standard",
    seed: Annotated[int, typer.Option(help="Seed of the episode in the validation split.")] = 0,
    observation: Annotated[
        str | None, typer.Option(help="Form of the agent's observations: counts, pixels or state; by default the form of the environment.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output file (GIF); by default <Id>-<agent>.gif in the current folder.")
    ] = None,
    width: Annotated[int, typer.Option(help="Width of the film, pixels.")] = 640,
    as_json: JsonFlag = False,
) -> None:
    """Play an episode and write it as an animated GIF with images, actions, dose, budget, return and score."""
    import dataclasses

    from stemtwin.benchmarks import films

    made = films.film(environment, agent=agent, difficulty=difficulty, seed=seed, observation=observation, output=output, width=width)
    if as_json:
        print_json({**dataclasses.asdict(made), "path": str(made.path)})
