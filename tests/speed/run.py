"""Measure what the engine must reach, beside its peers, in one run: ``python -m tests.speed.run [--only WORDS] [--pairs N]``.

Every row runs ours and its peer in turn, at least five times each and for ten seconds, and takes the median over pairs. Nothing is measured again
because it missed. Writes RESULTS.md beside this file and exits 1 if a bar was missed, or if a peer that a row needs is not installed (the row then
says which). Rows stand in ``bench_*.py``, in a list ``ROWS``. Run it on a quiet machine.
"""

import argparse
import importlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
from rich.console import Console

HERE = Path(__file__).parent
console = Console()

LEAST_SECONDS = 10.0
"""A row is measured for at least so long: shared machines run half as fast for some seconds at a time, and five short calls would fall into one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One thing to measure.

    Attributes
    ----------
    work : str
        What is measured, and against what.
    bar : float
        What the value must reach.
    prepare : callable
        Returns (ours, peer): two functions without arguments that do the work once; ``peer`` is None for a row of times. Each may return the number
        by which its seconds are divided (work done, in a unit that both share); None stands for 1.
    value : callable
        Takes the seconds (per unit) of ours and of the peer (nan without one), returns the value.
    unit : str
        Unit of the value; empty for a ratio.
    at_most : bool
        Whether the value must not exceed the bar, rather than not fall below it.
    returned : bool
        Whether the functions return what is compared, bytes or errors, instead of being timed; they are called once.
    """

    work: str
    bar: float
    prepare: Callable[[], tuple[Callable[[], float | None], Callable[[], float | None] | None]]
    value: Callable[[float, float], float]
    unit: str = ""
    at_most: bool = False
    returned: bool = False

    def once(self, function: Callable[[], float | None] | None) -> float:
        """Return what one call of a side says or takes."""
        return float(function() or 0.0) if self.returned and function is not None else seconds(function)

    def met(self, value: float) -> bool:
        """Whether a value reaches the bar."""
        return value <= self.bar if self.at_most else value >= self.bar


def seconds(function: Callable[[], float | None] | None) -> float:
    """Return the wall time of one call, per unit of the work that it says it did."""
    if function is None:
        return float("nan")
    start = time.perf_counter()
    units = function()
    return (time.perf_counter() - start) / (units or 1)


PEAK = """
from pathlib import Path
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("VmHWM", int(peak.split()[1]) * 1024)
"""
"""Not ru_maxrss: on Linux a new process starts with that of the one that started it."""


def peak_bytes(program: str) -> int:
    """Return the peak of the resident memory of a process of its own that runs a program, bytes."""
    command = [sys.executable, "-c", f"{program}\n{PEAK}"]
    said = subprocess.run(command, check=True, env=os.environ.copy(), cwd=HERE.parent.parent, stdout=subprocess.PIPE, text=True).stdout
    return int(said.split()[-1])


def measure(row: Row, pairs: int) -> tuple[str, bool]:
    """Measure a row; return its line of the table and whether the bar was met."""
    sign = "<=" if row.at_most else ">="
    try:
        ours, peer = row.prepare()
    except ModuleNotFoundError as error:
        return f"| {row.work} | {sign} {row.bar:g} {row.unit} | not measured: {error.name} is not installed | | | no |", False
    times, start = [], time.perf_counter()
    with console.status(row.work):
        if row.returned:
            times.append((row.once(ours), row.once(peer)))
        else:
            for function in (ours, peer):
                seconds(function)
        while not row.returned and (len(times) < pairs or time.perf_counter() - start < LEAST_SECONDS):
            times.append((seconds(ours), seconds(peer)))
    values = [row.value(*pair) for pair in times]
    low, high = np.quantile(values, (0.05, 0.95))
    value = statistics.median(values)
    timed = (not row.returned and column[0] == column[0] for column in zip(*times, strict=True))
    mine, theirs = (f"{statistics.median(column) * 1e3:.4g} ms" if said else "" for said, column in zip(timed, zip(*times, strict=True), strict=True))
    met = row.met(value)
    spread = f"{value:.3g} {row.unit} ({low:.3g} to {high:.3g})".replace("  ", " ")
    return f"| {row.work} | {sign} {row.bar:g} {row.unit} | {spread} | {mine} | {theirs} | {'yes' if met else '**no**'} |", met


def machine() -> str:
    """Return the machine and the versions that matter, in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = []
    for name in ("numpy", "scipy", "numba", "abtem", "pyfftw"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    load = f"; load before the run {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{count} CPUs ({cpu}), Python {platform.python_version()}, {', '.join(versions)}{load}"


def condition() -> str:
    """Return how fast the machine is at this moment, best of five: neighbours on shared hardware take clock and memory bandwidth."""
    a, far = np.ones((2048, 2048), np.float32), np.ones(2**25)
    out, target = np.empty_like(a), np.empty_like(far)

    def multiply() -> None:
        np.matmul(a, a, out=out)

    def copy() -> None:
        np.copyto(target, far)

    product, moved = (min(seconds(work) for _ in range(5)) for work in (multiply, copy))
    return f"sgemm {2 * 2048**3 / product / 1e9:.0f} GFLOP/s, copy {2 * far.nbytes / moved / 1e9:.1f} GB/s"


def main() -> int:
    """Measure every row and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose description holds these words; RESULTS.md is then left as it is")
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs per row, at least 5 (default: 5), and as many as take ten seconds")
    arguments = parser.parse_args()
    if arguments.pairs < 5:
        parser.error(f"--pairs {arguments.pairs}: a median of fewer than 5 pairs says little")
    before = condition()
    head = [
        "# Speed",
        "",
        "Written by `make speed`; ratios are peer / ours, medians over interleaved pairs (5 % to 95 % of them).",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}; {arguments.pairs} pairs or more per row.",
        "",
        f"The machine before the run: {before}; after it: ",
        "",
        "| work | bar | value | ours | peer | met |",
        "|---|---|---|---|---|---|",
    ]
    rows = [row for path in sorted(HERE.glob("bench_*.py")) for row in importlib.import_module(f"tests.speed.{path.stem}").ROWS]
    lines, all_met = [], True
    for row in rows:
        if arguments.only.lower() in row.work.lower():
            line, met = measure(row, arguments.pairs)
            console.print(line, markup=False, soft_wrap=True)
            lines.append(line)
            all_met &= met
    head[6] += f"{condition()}."
    if not arguments.only:
        (HERE / "RESULTS.md").write_text("\n".join([*head, *lines, ""]))
    return 0 if all_met and lines else 1


if __name__ == "__main__":
    sys.exit(main())
