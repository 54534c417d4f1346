"""Small jobs that call all kernels of instruments, engines and environments, so the kernels are compiled and cached."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator

import numpy as np

from stemtwin.twin.instrument.hardware.profiles import find_profile
from stemtwin.twin.instrument.scan import RasterScan, SpiralScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.engines import thermal
from stemtwin.twin.instrument.simulation.engines.registry import DENSE, ENGINES, REFERENCE, REIMAGING
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.physics import detector_weights
from stemtwin.twin.physics.engine.local.basis import Basis, Localisation
from stemtwin.twin.physics.engine.local.exit_waves import Windows
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

SEED = 987_654_321
"""Seed of thermal displacements that only these jobs use; no operator is cached for it, so the jobs call all kernels."""
SCAN = RasterScan(shape=(16, 16), field_of_view_angstrom=(4.0, 4.0))
LIMIT = "STEMTWIN_CACHE_BYTES"


@contextlib.contextmanager
def _nothing_kept() -> Iterator[None]:
    """Disable the disk cache of operators in a block; kernels are still cached."""
    before = os.environ.get(LIMIT)
    os.environ[LIMIT] = "0"
    try:
        yield
    finally:
        del os.environ[LIMIT]
        if before is not None:
            os.environ[LIMIT] = before


def _cell() -> Sample:
    return load_sample("srtio3-001", size_angstrom=(4.0, 4.0), thickness_angstrom=4.0)


def _sheet() -> Sample:
    return load_sample("mos2-1h", size_angstrom=(24.0, 24.0))


@_nothing_kept()
def _frames() -> None:
    """Acquire frames with one and with several detectors, and along a spiral, with all faults of an instrument."""
    scope = Microscope(_cell(), "corrected-200kv", seed=SEED)
    for detectors in ("haadf", ("haadf", "bf")):
        scope.acquire(SCAN, detectors=detectors)
    scope.acquire(SpiralScan(shape=(64,), diameter_angstrom=3.0))


@_nothing_kept()
def _engines() -> None:
    """Simulate a scan by each kind of engine, and patterns."""
    beam = Beam(energy_ev=200e3, semiangle_mrad=20.0)
    small, local = {*ENGINES.names(DENSE), *ENGINES.names(REFERENCE)}, {*ENGINES.names(REIMAGING)} - {*ENGINES.names(DENSE)}
    for engine, sample in [(name, _cell()) for name in sorted(small)] + [(name, _sheet()) for name in sorted(local)]:
        simulate(sample, beam=beam, scan=SCAN, engine=engine, phonons=1, seed=SEED, detectors="haadf")
    turned = dataclasses.replace(SCAN, rotation_rad=0.3)
    simulate(_cell(), beam=beam, scan=turned, engine=ENGINES.names(DENSE)[0], phonons=1, seed=SEED, detectors="haadf")
    simulate(_cell(), beam=beam, scan=SCAN, phonons=1, seed=SEED, detectors="pixelated")
    request = Request(sample=_sheet(), beam=beam, scan=SCAN, engine=thermal.NAME, seed=SEED, detectors=("haadf",))
    thermal.model_of(request, make_plan(request))(np.zeros((1, 2)))  # without its check, which calls no other kernels


def _growing_windows() -> None:
    """Propagate sixteen functions of a local operator through windows that grow with depth, without a specimen."""
    grid, planes, wavelength = Grid(shape=(160, 160), extent=(16.0, 16.0)), 1.5 * np.arange(40.0), 0.025
    near = Localisation(shape=6.0, reach=5.0, band=3.0, correlation=3.5, near=1.8)
    nothing = SliceStack(grid=grid, wavelength=wavelength, transmission=np.ones((40, 160, 160), np.complex64), planes=planes, thickness=60.0)
    basis = Basis(grid=grid, radius=0.8, periodic=True, local=near)
    Windows(basis, nothing, lambda ky, kx, pixel: detector_weights.annulus(ky, kx, pixel, 2.0, 3.0)[None]).propagate(nothing, [(0, 0)])


@_nothing_kept()
def _damage() -> None:
    """Scan a sheet with beam damage."""
    profile = dataclasses.replace(find_profile("ideal"), energy_ev=80e3, semiangle_mrad=25.0)
    scope = Microscope(_sheet(), profile, seed=SEED, phonons=1, damage=True)
    scope.acquire(SCAN, dwell_time_us=100.0)


def _batches() -> None:
    """Step two environments together."""
    import gymnasium

    envs = gymnasium.make_vec("stemtwin/Autofocus-v2", num_envs=2, difficulty="easy", randomisation={"rotation_rad": (0.0, 0.0)})
    envs.reset(seed=1)
    envs.step(envs.action_space.sample())
    envs.close()


@_nothing_kept()
def _forge() -> None:
    """Park the beam beside an atom, without and with images."""
    import gymnasium

    for form in ("state", "counts"):
        env = gymnasium.make("stemtwin/AtomForge-v1", difficulty="easy", observation=form)
        env.reset(seed=1)
        env.step(np.array([0.0, 0.5, 1.0, -1.0], np.float32))
        env.close()


def _trees() -> None:
    """Reconstruct an image."""
    from stemtwin.twin.envs.image_trees import TreePrior, reconstruct

    reconstruct(np.ones((64, 64)), np.full((64, 64), 100.0), TreePrior())


JOBS: dict[str, Callable[[], None]] = {
    "frames of an instrument": _frames,
    "engines": _engines,
    "growing windows": _growing_windows,
    "damage": _damage,
    "batches of environments": _batches,
    "manipulation of atoms": _forge,
    "images of sparse scans": _trees,
}
"""Jobs by descriptions of the kernels that the jobs compile."""


def run(tell: Callable[[str], None]) -> None:
    """Run all jobs, and call ``tell`` with the name of each completed job."""
    for text, job in JOBS.items():
        job()
        tell(text)
