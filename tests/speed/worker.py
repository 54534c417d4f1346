"""Measure one row of the speed table, one call for each line of input: ``python tests/speed/worker.py CHECKOUT ROW``.

``tests/speed/against.py`` starts one of these for each checkout. The rows are those of the checkout that is named, not those of this file's own.
"""

import importlib
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Prepare the row, then print wall and processor seconds of one call for each line of input."""
    checkout, work = sys.argv[1:]
    sys.path[0] = checkout
    os.chdir(checkout)
    run = importlib.import_module("tests.speed.run")
    modules = [importlib.import_module(f"tests.speed.{path.stem}") for path in sorted(Path("tests/speed").glob("bench_*.py"))]
    row = next((row for module in modules for row in module.ROWS if row.work == work), None)
    if row is None:
        sys.stdout.write("no such row\n")
        return
    if getattr(row, "returned", False):  # no time to compare
        sys.stdout.write("no such row\n")
        return
    ours, _ = row.prepare()
    run.seconds(ours)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        before = time.process_time()
        wall = run.seconds(ours)
        used = time.process_time() - before
        sys.stdout.write(f"{wall} {used}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
