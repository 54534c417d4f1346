"""``stemtwin list``: lists of samples, detectors, tasks, environments and other named objects."""

import enum
import importlib
import inspect
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json
from stemtwin.twin.registry import Registry


class Kind(enum.StrEnum):
    """Kinds of objects that can be listed."""

    SAMPLES = "samples"
    DETECTORS = "detectors"
    PROFILES = "profiles"
    TASKS = "tasks"
    METRICS = "metrics"
    ANSWERS = "answers"
    DATASETS = "datasets"
    ENVIRONMENTS = "environments"
    REWARDS = "rewards"
    BASELINES = "baselines"


REGISTRIES = {  # kind: (module, registry in it, or function that returns one or the names)
    Kind.SAMPLES: ("stemtwin.twin.samples.library", "list_samples"),
    Kind.DETECTORS: ("stemtwin.twin.instrument.simulation.derived_signals", "list_signals"),
    Kind.PROFILES: ("stemtwin.twin.instrument.hardware.profiles", "PROFILES"),
    Kind.TASKS: ("stemtwin.benchmarks.tasks", "load_tasks"),
    Kind.METRICS: ("stemtwin.benchmarks.metrics.metric", "load_metrics"),
    Kind.ANSWERS: ("stemtwin.benchmarks.answers.form", "load_answers"),
    Kind.DATASETS: ("stemtwin.datasets.catalog", "list_datasets"),
    Kind.REWARDS: ("stemtwin.twin.envs.rewards", "REWARDS"),
    Kind.BASELINES: ("stemtwin.benchmarks.agents", "load_baselines"),
}


def names(kind: Kind) -> dict[str, tuple[str, ...]]:
    """Return the objects of one kind: a mapping from each name to the tags or the description of the object, empty if it has none."""
    if kind is Kind.ENVIRONMENTS:
        import gymnasium

        from stemtwin.twin.envs import discovery

        importlib.import_module("stemtwin")  # registers the environments
        told = discovery.descriptions()
        return {name: (told[name],) if told.get(name) else () for name in sorted(gymnasium.registry) if name.startswith("stemtwin/")}
    module, attribute = REGISTRIES[kind]
    thing: Any = getattr(importlib.import_module(module), attribute)
    found = thing() if inspect.isfunction(thing) else thing
    return {str(name): found.tags(name) if isinstance(found, Registry) else () for name in found}


def listing(
    kind: Annotated[Kind | None, typer.Argument(help="Kind of objects to list; by default all kinds.")] = None,
    json: JsonFlag = False,
) -> None:
    """List samples, detectors, profiles, tasks, metrics, answers, datasets, environments, rewards and baselines."""
    found = {one.value: names(one) for one in ([kind] if kind else Kind)}
    if json:
        print_json({name: list(things) for name, things in found.items()})
        return
    for name, things in found.items():
        typer.echo(name)
        width = max(map(len, things), default=0)
        for thing, tags in things.items():
            typer.echo(f"  {thing:{width}}  {', '.join(tags)}".rstrip())
