"""``stemtwin certify``: comparison of two solvers on one request, and convergence of the request."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag


def certify(
    request: Annotated[Path, typer.Argument(help="Request file written by Request.save(path).", metavar="REQUEST.toml")],
    as_json: JsonFlag = False,
) -> None:
    """Compute a request by stemtwin and by abTEM, and check its convergence in sampling, slices and phonons."""
    from rich.console import Console
    from rich.table import Table

    from stemtwin.twin.instrument.simulation.certify import certify as run
    from stemtwin.twin.instrument.simulation.request import Request

    asked = Request.load(request)
    with Console(stderr=True, emoji=False).status("certify") as status:
        result = run(asked, progress=status.update)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
        return
    console = Console(highlight=False, emoji=False)
    ny, nx = result.grid
    console.print(f"{request}: {result.points} points, grid {ny} x {nx}, {result.slices} slices", markup=False)
    table = Table(box=None, header_style="dim")
    for column in ("detector", "compared with stemtwin's multislice"):
        table.add_column(column)
    for column in ("stemtwin", "other", "rms / mean", "largest / mean"):
        table.add_column(column, justify="right")
    for line in result.lines:
        table.add_row(line.detector, line.what, f"{line.ours:.6f}", f"{line.other:.6f}", f"{line.rms:.1e}", f"{line.largest:.1e}")
    console.print(table)
    for name, error in result.standard_error.items():
        console.print(f"{name}: standard error over the phonon configurations {error:.2%} of the mean", markup=False)
    for note in result.notes:
        console.print(f"note: {note}", markup=False)
