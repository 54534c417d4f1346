"""First calls of a newcomer: no kernel is compiled, no operator built.

The processor time of the first frame is compared with that of a yardstick, a function of numpy that plain numba compiles in a process of its own:
compilers run at quite different speeds on the machines that measure this.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.speed.run import Row

FRAME = """
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.samples.library import load_sample
scope = Microscope(load_sample("srtio3-001", size_angstrom=(4.0, 4.0), thickness_angstrom=8.0), "corrected-200kv", seed=1)
scope.acquire(RasterScan(shape=(128, 128), field_of_view_angstrom=(16.0, 16.0)), detectors=("haadf", "bf"))
"""
YARDSTICK = """
import numba
import numpy as np

@numba.njit
def statistics(values, places):
    ordered = np.sort(values)
    middle = np.median(values) + np.percentile(values, 30.0)
    counts, edges = np.histogram(values, 16)
    found = np.interp(places, ordered, values)
    return middle + counts.sum() + found.sum() + np.unique(values).size + np.argsort(places)[0]

statistics(np.arange(50.0), np.arange(20.0))
"""
YARDSTICKS = 1.19
"""Largest processor time of the first frame: 9 s where commit cf3b310 takes 16 s, and that commit takes 2.12 yardsticks (2.04 to 2.18, 4 pairs)."""

STEP = """
import gymnasium
import stemtwin
env = gymnasium.make("stemtwin/Autofocus-v2")
env.reset(seed=1)
env.step(env.action_space.sample())
"""
IMAGE = """
from stemtwin.leaderboard.cli.main import main
main(["image", "srtio3-001", "--output", "image.png"])
"""


def _cold(program: str, *, processor: bool) -> Callable[[], float]:
    """Return the function that runs a program with an empty cache; its time is that of its processors where asked, s, else that of the clock."""

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            before, start = os.times(), time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "STEMTWIN_CACHE_DIR": folder, "PYTHONPATH": str(Path.cwd())},
                cwd=folder,
                check=True,
                capture_output=True,
            )
            after, wall = os.times(), time.perf_counter() - start
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            return wall / spent if processor else 1.0

    return ours


def _row(work: str, program: str) -> Row:
    return Row(work=work, bar=20, prepare=lambda: (_cold(program, processor=False), None), value=lambda ours, _: ours, unit="s", at_most=True)


COLD = "in a fresh process with no kernel and no operator kept"
ROWS = [
    Row(
        work=f"first frame of an instrument, SrTiO3 8 A, two detectors, {COLD}: processor time / that of the yardstick",
        bar=YARDSTICKS,
        prepare=lambda: (_cold(FRAME, processor=True), _cold(YARDSTICK, processor=True)),
        value=lambda ours, yardstick: ours / yardstick,
        at_most=True,
    ),
    _row(f"first step of make('stemtwin/Autofocus-v2') {COLD}", STEP),
    _row(f"stemtwin image srtio3-001 {COLD}", IMAGE),
]
