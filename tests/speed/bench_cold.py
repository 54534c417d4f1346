"""First calls of a newcomer: no kernel is compiled, no operator built."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.speed.run import Row

FRAME = """
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.samples.library import load_sample
scope = Microscope(load_sample("srtio3-001", size_angstrom=(4.0, 4.0), thickness_angstrom=8.0), "corrected-200kv", seed=1)
scope.acquire(RasterScan(shape=(128, 128), field_of_view_angstrom=(16.0, 16.0)), detectors=("haadf", "bf"))
"""
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


def _cold(program: str, processor: bool):
    """Run a program with an empty cache; the time is that of its processors where asked, s, else that of the clock."""

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

    return lambda: (ours, None)


def _row(work: str, bar: float, program: str, *, processor: bool = False) -> Row:
    return Row(work=work, bar=bar, prepare=_cold(program, processor), value=lambda ours, _: ours, unit="s", at_most=True)


COLD = "in a fresh process with no kernel and no operator kept"
ROWS = [
    _row(f"first frame of an instrument, SrTiO3 8 A, two detectors, {COLD}: processor time", 9, FRAME, processor=True),
    _row(f"first step of make('stemtwin/Autofocus-v2') {COLD}", 20, STEP),
    _row(f"stemtwin image srtio3-001 {COLD}", 20, IMAGE),
]
