"""``stemtwin list``: what there is."""

import enum
import importlib
import inspect
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json


class Kind(enum.StrEnum):
    """Kinds of things that can be listed."""

    SAMPLES = "samples"
    DETECTORS = "detectors"
    PROFILES = "profiles"
    TASKS = "tasks"
    DATASETS = "datasets"
    ENVIRONMENTS = "environments"
    REWARDS = "rewards"
    BASELINES = "baselines"


REGISTRIES = {  # kind: (module, registry in it, or function that returns one or the names)
    Kind.SAMPLES: ("stemtwin.twin.samples.library", "list_samples"),
    Kind.DETECTORS: ("stemtwin.twin.instrument.detectors", "DETECTORS"),
    Kind.PROFILES: ("stemtwin.twin.instrument.hardware.profiles", "PROFILES"),
    Kind.TASKS: ("stemtwin.benchmarks.tasks", "load_tasks"),
    Kind.DATASETS: ("stemtwin.datasets.catalog", "list_datasets"),
    Kind.REWARDS: ("stemtwin.twin.envs.rewards", "REWARDS"),
    Kind.BASELINES: ("stemtwin.benchmarks.agents", "load_baselines"),
}


def names(kind: Kind) -> list[str]:
    """Return the names of the things of one kind."""
    if kind is Kind.ENVIRONMENTS:
        import gymnasium

        importlib.import_module("stemtwin")  # registers them
        return sorted(name for name in gymnasium.registry if name.startswith("stemtwin/"))
    module, attribute = REGISTRIES[kind]
    thing: Any = getattr(importlib.import_module(module), attribute)
    return [str(name) for name in (thing() if inspect.isfunction(thing) else thing)]


def listing(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; everything where none is named.")] = None,
    json: JsonFlag = False,
) -> None:
    """List what there is: samples, detectors, profiles, tasks, datasets, environments, rewards, baselines."""
    found = {one.value: names(one) for one in ([kind] if kind else Kind)}
    if json:
        print_json(found)
        return
    for name, things in found.items():
        typer.echo(name)
        for thing in things:
            typer.echo(f"  {thing}")
