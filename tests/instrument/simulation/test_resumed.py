"""Operators on disk: a build killed in the middle goes on and ends with the same bits; what is on disk is not built again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, simulate
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache
from stemtwin.twin.physics.engine.kernels.threads import thread_count
from stemtwin.twin.physics.engine.operator import imaging_cache, imaging_operator
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

PROGRAM = """
import os, signal, sys
import numpy as np
import stemtwin as st
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.local import accuracy_check, piece_cache
from stemtwin.twin.physics.engine.operator import gram_matrix

folder, engine, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = disk.ArrayCache(folder, 10**9)
disk.default_cache = lambda: cache
accuracy_check.POINTS = 32
common = {"engine": engine, "phonons": 3, "tolerance": 0.1}
if engine == "operator":
    sample = st.load_sample("srtio3-001", size_angstrom=(8, 8), thickness_angstrom=8)
    beam, scan = st.Beam(energy_ev=200e3, semiangle_mrad=15), st.RasterScan(shape=(4, 4), field_of_view_angstrom=(4, 4))
    request = st.Request(sample=sample, beam=beam, scan=scan, detectors=("haadf", "bf"), sampling_angstrom=0.11, **common)
else:
    sample = st.load_sample("mos2-1h", size_angstrom=(34, 34))
    beam, scan = st.Beam(energy_ev=80e3, semiangle_mrad=25), st.RasterScan(shape=(9, 9), field_of_view_angstrom=(30, 30))
    ring = st.AnnularDetector(inner_mrad=35, outer_mrad=48)
    request = st.Request(sample=sample, beam=beam, scan=scan, detectors=(ring if engine == "local" else "bf",), sampling_angstrom=0.27, **common)
plan = st.explain(request)
assert plan.engine == engine
assert engine != "operator" or plan.blocks != (1, 1)
computed = 0
def counted(function):
    def call(*args):
        global computed
        if computed == most:
            os.kill(os.getpid(), signal.SIGKILL)
        computed += 1
        return function(*args)
    return call
gram_matrix.detected = counted(gram_matrix.detected)
piece_cache.PieceStore.save = counted(piece_cache.PieceStore.save)
waves = []
data = simulate.simulate(request, progress=waves.append)
assert engine != "operator" or sum(waves) == plan.waves, (sum(waves), plan.waves)
np.save(folder + ".npy", np.stack([np.asarray(data[name]) for name in data.data_vars]))
print(computed, data.attrs["engine_error"])
"""


def run(folder: Path, engine: str, most: int = -1) -> tuple[int, str, bytes] | None:
    """Image in a process that is killed before it makes a piece; return how many pieces it made, how exact it is and the image, or None if killed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), engine, str(most)], capture_output=True, text=True, timeout=200, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    computed, exactness = done.stdout.strip().split(" ", 1)
    return int(computed), exactness, folder.with_suffix(".npy").read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    """Return the names and the bytes of the files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
@pytest.mark.slow
@pytest.mark.parametrize(("engine", "most"), [("operator", 5), ("local", 5), ("tiled", 5)])
def test_a_killed_build_goes_on_to_the_same_bits(engine: str, most: int, tmp_path: Path) -> None:
    """Killed, a build makes only what is missing, ends with the same bits, image and files, as one never killed, and is not done again."""
    assert run(tmp_path / "killed", engine, most) is None
    assert 0 < len(files(tmp_path / "killed")) <= most
    again, straight = run(tmp_path / "killed", engine), run(tmp_path / "straight", engine)
    assert again is not None
    assert straight is not None
    assert straight[0] - most <= again[0] < straight[0] - most + thread_count()  # each thread had a piece in hand
    assert again[0] > 0
    assert again[1:] == straight[1:]
    assert files(tmp_path / "killed") == files(tmp_path / "straight")
    assert engine != "operator" or len(files(tmp_path / "straight")) == 1
    assert run(tmp_path / "killed", engine, 0) == (0, *straight[1:])


def test_from_disk_the_image_is_the_same(thermal: Sample, beam: Beam, raster: RasterScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator read from disk gives the same bits for any optics, and is built again where its file was damaged or the code changed."""
    cache, built, build = ArrayCache(tmp_path, 10**9), [], imaging_operator.build
    monkeypatch.setattr(disk, "default_cache", lambda: cache)
    monkeypatch.setattr(imaging_operator, "build", lambda *args, **kwargs: built.append(1) or build(*args, **kwargs))
    request = Request(sample=thermal, beam=beam, scan=raster, detectors=("haadf", "bf"), phonons=2, engine="operator")
    plan = make_plan(request)

    def image() -> np.ndarray:
        operator_cache.clear()
        operator = operator_cache.operator_for(request, plan)
        found = operator.image(beam.aberrations, semiangle=0.8 * operator.semiangle, source_size=0.3, focal_spread=20.0)
        arrays, again = imaging_cache.to_arrays(operator), imaging_cache.to_arrays(imaging_cache.from_arrays(imaging_cache.to_arrays(operator)))
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
    operator_cache.clear()


@pytest.mark.parametrize("engine", ["local", "tiled"])
def test_damaged_files_of_parts_are_built_again(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files were cut short or come from another version, what they held is built again: the same bits, nothing wrong in silence."""
    cache = ArrayCache(tmp_path, 10**9)
    monkeypatch.setattr(disk, "default_cache", lambda: cache)
    detector = AnnularDetector(inner_mrad=35, outer_mrad=48) if engine == "local" else "bf"
    request = Request(
        sample=load_sample("mos2-1h", size_angstrom=(28, 28)),
        beam=Beam(energy_ev=80e3, semiangle_mrad=25),
        scan=RasterScan(shape=(5, 5), field_of_view_angstrom=(20, 20)),
        detectors=(detector,),
        engine=engine,
        phonons=2,
        sampling_angstrom=0.27,
        tolerance=0.1,
    )

    def image() -> tuple[bytes, str]:
        operator_cache.clear()
        data = simulate.simulate(request)
        return next(iter(data.data_vars.values())).to_numpy().tobytes(), data.attrs["engine_error"]

    first = image()
    before = files(tmp_path)
    assert len(before) > 2
    for name, content in before.items():
        (tmp_path / name).write_bytes(content[:-7] if int(name[0], 16) % 2 else content.replace(b"stemtwin arrays 1", b"stemtwin arrays 0", 1))
    assert image() == first
    assert files(tmp_path) == before
    operator_cache.clear()
