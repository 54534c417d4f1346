"""Golden values on the command line: ``python -m tests.golden record`` and ``python -m tests.golden compare FOLDER``.

``record`` computes all cases and writes one npz file each. ``compare`` computes them again, prints each array beside
the recorded one, and exits 1 where one differs by more than its class allows (``tolerances.py``), or, with ``--exact``,
in a single bit. Nothing is read from the cache on disk.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.golden.registry import Case
    from tests.golden.tolerances import Comparison


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def chosen(quick: bool, only: str) -> "Iterator[Case]":
    """Give the cases asked for."""
    from tests.golden.cases import CASES

    for case in CASES.values():
        if only in case.name and not (quick and case.slow):
            yield case


def record(folder: Path, *, quick: bool, only: str) -> int:
    """Compute cases and write their arrays; return the exit code."""
    from tests.golden import files

    for case in chosen(quick, only):
        began, spent = time.perf_counter(), time.process_time()
        path = files.write(folder, case.name, case.compute())
        wall, processor = time.perf_counter() - began, time.process_time() - spent
        say(f"{case.name:28} {wall:6.1f} s, {processor:6.1f} s of processors, {path.stat().st_size / 1024:7.1f} kB")
    return 0


def compare(folder: Path, *, exact: bool, quick: bool, only: str) -> int:
    """Compute cases and print them beside the recorded arrays; return the exit code."""
    from tests.golden import files
    from tests.golden.tolerances import compare as beside

    refused, seen = [], set()
    say(f"{'array':62} {'shape':18} {'dtype':9} {'equal bits':10} largest difference")
    for case in chosen(quick, only):
        seen.add(case.name)
        for found in beside(case.name, case.compute(), files.read(folder, case.name)):
            say(line(found))
            if found.refused(exact=exact):
                refused.append(found)
    if not quick and not only and (left := sorted(files.names(folder) - seen)):
        say(f"Recorded, but no longer a case: {', '.join(left)}")
        return 1
    for found in refused:
        say(f"DIFFERS {found.name}: {found.fault or 'other bits'}")
    how = "in their bits" if exact else "by more than their class allows"
    say(f"{len(refused)} arrays of {len(seen)} cases differ {how}.")
    return 1 if refused or not seen else 0


def line(found: "Comparison") -> str:
    """Return the line of the table for one comparison."""
    shape = " x ".join(map(str, found.shape)) or "number"
    equal = "yes" if found.equal else "no"
    return f"{found.name:62} {shape:18} {found.dtype:9} {equal:10} {found.difference:.3g} {found.fault}".rstrip()


def main() -> int:
    """Run one command line and return its exit code."""
    from tests.golden.files import VALUES

    parser = argparse.ArgumentParser(
        prog="python -m tests.golden",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    writer = commands.add_parser("record", help="compute and write")
    writer.add_argument(
        "--folder",
        type=Path,
        default=VALUES,
        help="where the files go; by default tests/golden/values",
    )
    reader = commands.add_parser("compare", help="compute and compare with what was written")
    reader.add_argument("folder", type=Path, help="where the files are")
    reader.add_argument(
        "--exact",
        action="store_true",
        help="refuse other bits, not only what is beyond the tolerances",
    )
    for each in (writer, reader):
        each.add_argument("--quick", action="store_true", help="leave the slow cases out")
        each.add_argument("--only", default="", help="cases with this in their name")
    asked = parser.parse_args()
    if asked.command == "record":
        return record(asked.folder, quick=asked.quick, only=asked.only)
    return compare(asked.folder, exact=asked.exact, quick=asked.quick, only=asked.only)


if __name__ == "__main__":
    os.environ["STEMTWIN_CACHE_BYTES"] = "0"  # nothing that other code left on disk is compared
    os.environ["MPLBACKEND"] = "Agg"
    sys.exit(main())
