"""Compare the speed of this checkout with that of another one, row by row and call by call: ``python -m tests.speed.against CHECKOUT``.

Each row of the speed table runs in two processes, one per checkout, which take turns: at least fifteen calls each and for ten seconds, ours first or
second by turns. A row is slower where the median of the ratios ours / other is above 1.05 and its 95 % interval (bootstrap of the median) above 1. It
cannot tell where that interval reaches from below 1 to above 1.05. A row
that the other checkout lacks, or that is not timed, is named new. Exits 1 if a row is slower. Run it on a quiet machine.
"""

import argparse
import importlib
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from tests.speed.run import HERE, LEAST_SECONDS, condition, machine

console = Console(soft_wrap=True)
ROOT = HERE.parent.parent
PAIRS = 15
ALLOWED = 1.05
RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Ratios ours / other of one row.

    Attributes
    ----------
    work : str
        The row.
    ratios : ndarray
        One for each pair of calls, shape (n,).
    seconds : tuple of float
        Medians of ours and of the other, s.
    """

    work: str
    ratios: np.ndarray
    seconds: tuple[float, float]

    @property
    def median(self) -> float:
        """Median ratio."""
        return float(np.median(self.ratios))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the median, by bootstrap."""
        rng = np.random.Generator(np.random.Philox(0))
        medians = np.median(rng.choice(self.ratios, (RESAMPLES, len(self.ratios))), axis=1)
        low, high = np.quantile(medians, (0.025, 0.975))
        return float(low), float(high)

    @property
    def verdict(self) -> str:
        """``"slower"``, ``"cannot tell"`` or ``"not slower"``."""
        low, high = self.interval
        if self.median > ALLOWED and low > 1:
            return "slower"
        return "cannot tell" if low <= 1 and high > ALLOWED else "not slower"


def start(checkout: Path, work: str) -> subprocess.Popen[str] | None:
    """Start the process that measures one row of a checkout, and wait until the row is prepared; None where the checkout has no such row."""
    command = [sys.executable, str(HERE / "worker.py"), str(checkout), work]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answer = process.stdout.readline().strip()
    if answer == "no such row":
        return None
    if answer != "ready":
        message = f"{checkout}: the row {work!r} could not be prepared; its error is above."
        raise RuntimeError(message)
    return process


def call(process: subprocess.Popen[str], *, processor: bool) -> float:
    """Return the seconds of one call."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    wall, used = (float(word) for word in process.stdout.readline().split())
    return used if processor else wall


def compare(work: str, other: Path, *, pairs: int, processor: bool) -> Comparison | None:
    """Return the ratios of one row, from calls that take turns, or None where the other checkout has no such row."""
    theirs = start(other, work)
    if theirs is None:
        return None
    mine = start(ROOT, work)
    assert mine is not None
    processes = [mine, theirs]
    times: list[tuple[float, float]] = []
    began = time.perf_counter()
    with console.status(work):
        while len(times) < pairs or time.perf_counter() - began < LEAST_SECONDS:
            order = (0, 1) if len(times) % 2 == 0 else (1, 0)
            found = {which: call(processes[which], processor=processor) for which in order}
            times.append((found[0], found[1]))
    for process in processes:
        process.communicate()
    table = np.array(times)
    return Comparison(work=work, ratios=table[:, 0] / table[:, 1], seconds=(float(np.median(table[:, 0])), float(np.median(table[:, 1]))))


def rows() -> list[str]:
    """Return the names of all rows of this checkout."""
    return [row.work for path in sorted(HERE.glob("bench_*.py")) for row in importlib.import_module(f"tests.speed.{path.stem}").ROWS]


def main() -> int:
    """Compare all rows, print a table, and return 1 if a row is slower."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="folder of the other checkout; both run in this Python environment")
    parser.add_argument("--only", default="", help="rows whose description holds these words")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"pairs of calls per row at least (default: {PAIRS})")
    parser.add_argument("--processor", action="store_true", help="compare processor seconds instead of wall seconds")
    arguments = parser.parse_args()
    console.print(f"{machine()}; {condition()}", markup=False)
    console.print("| work | ours | other | ours / other (95 %) | verdict |\n|---|---|---|---|---|", markup=False)
    verdicts = []
    for work in rows():
        if arguments.only.lower() not in work.lower():
            continue
        found = compare(work, arguments.checkout.resolve(), pairs=arguments.pairs, processor=arguments.processor)
        if found is None:
            console.print(f"| {work} | | | | new |", markup=False)
            continue
        low, high = found.interval
        ours, theirs = (f"{value * 1e3:.4g} ms" for value in found.seconds)
        console.print(f"| {work} | {ours} | {theirs} | {found.median:.3f} ({low:.3f} to {high:.3f}) | {found.verdict} |", markup=False)
        verdicts.append(found.verdict)
    console.print(", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("not slower", "cannot tell", "slower")), markup=False)
    return int("slower" in verdicts or not verdicts)


if __name__ == "__main__":
    sys.exit(main())
