"""``stemtwin warm``: what first calls would wait for, done the evening before."""

import time
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.work_progress import span


def warm(
    environments: Annotated[
        list[str] | None, typer.Argument(help="Ids of environments, as stemtwin/Autofocus-v2: see 'stemtwin list environments'. Usually all.")
    ] = None,
) -> None:
    """Compile all kernels, then build the specimens and operators of environments in their usual difficulty.

    Kernels are kept for this version of stemtwin, numba and Python on this kind of processor, operators for the same physics, below
    $STEMTWIN_CACHE_DIR. Where all of it is there, a few seconds remain: small jobs are done again.
    """
    from stemtwin.leaderboard.cli import warm_jobs
    from stemtwin.leaderboard.cli.listing import Kind, names
    from stemtwin.twin.envs.making import family_class, make_family

    asked = list(environments or names(Kind.ENVIRONMENTS))
    for name in asked:
        family_class(name)  # refused before any work
    told, began, steps = 0, time.monotonic(), len(warm_jobs.JOBS) + len(asked)

    def tell(text: str) -> None:
        nonlocal told
        told += 1
        typer.echo(f"{told} of {steps}, {span(time.monotonic() - began)}: {text}")

    typer.echo(f"{len(warm_jobs.JOBS)} jobs that compile kernels, about a minute where none is kept; then environments: {len(asked)}.", err=True)
    warm_jobs.run(tell)
    for name in asked:
        prepare_all = getattr(make_family(name), "prepare_all", None)
        if prepare_all is not None:
            prepare_all()
        tell(name)
