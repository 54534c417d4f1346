"""``stemtwin warm``: compilation of kernels and construction of operators in advance."""

import time
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.work_progress import span


def warm(
    environments: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of environments, for example stemtwin/Autofocus-v2; by default all environments in the output of 'stemtwin list environments'."
        ),
    ] = None,
) -> None:
    """Compile all kernels, then build the specimens and operators of environments at their default difficulty.

    Small jobs call all kernels and so compile them. Kernels and operators are cached in $STEMTWIN_CACHE_DIR. Cached kernels
    are valid until the version of stemtwin, numba or Python or the kind of processor changes; cached operators are valid until
    the physics of the operators changes. With a complete cache, the small jobs are run again, which takes a few seconds.
    """
    from stemtwin.leaderboard.cli import warm_jobs
    from stemtwin.leaderboard.cli.listing import Kind, names
    from stemtwin.twin.envs.making import family_class, make_family

    asked = list(environments or names(Kind.ENVIRONMENTS))
    for name in asked:
        family_class(name)  # an unknown name raises before any work
    told, began, steps = 0, time.monotonic(), len(warm_jobs.JOBS) + len(asked)

    def tell(text: str) -> None:
        nonlocal told
        told += 1
        typer.echo(f"{told} of {steps}, {span(time.monotonic() - began)}: {text}")

    jobs = f"{len(warm_jobs.JOBS)} jobs that compile kernels, about a minute without a cache"
    typer.echo(f"{jobs}; then {len(asked)} environments.", err=True)
    warm_jobs.run(tell)
    for name in asked:
        prepare_all = getattr(make_family(name), "prepare_all", None)
        if prepare_all is not None:
            prepare_all()
        tell(name)
