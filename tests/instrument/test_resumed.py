"""Operators on disk: a build killed in the middle goes on and ends with the same bits; what is on disk is not built again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stemtwin.twin.instrument import operators
from stemtwin.twin.instrument.plan import make_plan
from stemtwin.twin.instrument.request import Request
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.physics.engine import cache as disk
from stemtwin.twin.physics.engine import imaging, kept
from stemtwin.twin.physics.engine.cache import ArrayCache
from stemtwin.twin.samples.sample import Sample

PROGRAM = """
import os, signal, sys
import stemtwin as st
from stemtwin.twin.instrument import operators
from stemtwin.twin.instrument.plan import make_plan
from stemtwin.twin.physics.engine import cache as disk, imaging

folder, most = sys.argv[1], int(sys.argv[2])
cache = disk.ArrayCache(folder, 10**9)
disk.default_cache = lambda: cache
sample = st.load_sample("srtio3-001", size_angstrom=(8, 8), thickness_angstrom=8)
request = st.Request(
    sample=sample, beam=st.Beam(energy_ev=200e3, semiangle_mrad=15), scan=st.RasterScan(shape=(4, 4), field_of_view_angstrom=(4, 4)),
    detectors=("haadf", "bf"), phonons=3, engine="operator", sampling_angstrom=0.11,
)
plan = make_plan(request)
assert plan.blocks != (1, 1)
computed, piece = 0, imaging._piece
def counted(*args):
    global computed
    if computed == most:
        os.kill(os.getpid(), signal.SIGKILL)
    computed += 1
    return piece(*args)
imaging._piece = counted
waves = []
operator = operators.operator_for(request, plan, progress=waves.append)
assert sum(waves) == plan.waves, (sum(waves), plan.waves)
print(computed, len(operator.parts) * plan.configurations)
"""


def run(folder: Path, most: int = -1) -> tuple[int, int] | None:
    """Build an operator in a process that is killed before a piece; return how many pieces it computed, and of how many, or None if killed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), str(most)], capture_output=True, text=True, timeout=200, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    computed, count = done.stdout.split()
    return int(computed), int(count)


def whole(folder: Path) -> tuple[str, bytes]:
    """Return the name and the bytes of the only file in a folder."""
    (path,) = folder.iterdir()
    return path.name, path.read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_build_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Killed, a build computes only what is missing, ends with the same bits as one never killed, leaves no pieces, and is not done again."""
    assert run(tmp_path / "killed", 5) is None
    assert len(list((tmp_path / "killed").iterdir())) == 5
    computed, count = run(tmp_path / "killed") or (0, 0)
    assert 6 < count == computed + 5
    assert run(tmp_path / "straight") == (count, count)
    assert whole(tmp_path / "killed") == whole(tmp_path / "straight")
    assert run(tmp_path / "killed", 0) == (0, count)


def test_from_disk_the_image_is_the_same(thermal: Sample, beam: Beam, raster: RasterScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator read from disk gives the same bits for any optics, and is built again where its file was damaged or the code changed."""
    cache, built, build = ArrayCache(tmp_path, 10**9), [], imaging.build
    monkeypatch.setattr(disk, "default_cache", lambda: cache)
    monkeypatch.setattr(imaging, "build", lambda *args, **kwargs: built.append(1) or build(*args, **kwargs))
    request = Request(sample=thermal, beam=beam, scan=raster, detectors=("haadf", "bf"), phonons=2, engine="operator")
    plan = make_plan(request)

    def image() -> np.ndarray:
        operators.clear()
        operator = operators.operator_for(request, plan)
        found = operator.image(beam.aberrations, semiangle=0.8 * operator.semiangle, source_size=0.3, focal_spread=20.0)
        arrays, again = kept.to_arrays(operator), kept.to_arrays(kept.from_arrays(kept.to_arrays(operator)))
        assert [(n, a.tobytes()) for n, a in arrays.items()] == [(n, a.tobytes()) for n, a in again.items()]
        return np.concatenate([found.coefficients.ravel(), operator.standard_error])

    first = image()
    assert image().tobytes() == first.tobytes()
    assert len(built) == 1
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    assert image().tobytes() == first.tobytes()
    assert len(built) == 2
    monkeypatch.setattr(disk, "code_digest", lambda *_: "other")
    image()
    assert len(built) == 3
    operators.clear()
