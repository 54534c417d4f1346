"""Speed of multislice: against abTEM, against two FFTW transforms, against matrix products, and of the first call."""

import os
import subprocess
import sys
from functools import cache, partial

import numpy as np

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.engines import multislice
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.engine.kernels.threads import thread_count
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, collect
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.library import load_sample
from tests.speed.run import Row

ENERGY = 200e3
SEMIANGLE = 0.020
LATTICE = 3.905  # SrTiO3, A
CELLS = (8, 8, 10)
EXTENT = LATTICE * CELLS[0]
SLICES = 20
PROBES = 512
WHOLE = 128  # probes of the field through all of it
WAVELENGTH = electrons.wavelength(ENERGY)


def outer_angle(shape):
    """130 mrad, or what the grid holds if that is less."""
    return min(0.130, 0.95 * Grid(shape=shape, extent=(EXTENT, EXTENT)).max_angle(WAVELENGTH))


def new_positions(rng, count=PROBES):
    """Positions (x, y) that nobody has seen before."""
    return rng.random((count, 2)) * EXTENT


@cache
def abtem_potential(shape):
    """SrTiO3 [001], 8 x 8 x 10 cells, as a built abTEM potential of 20 slices."""
    import abtem
    from ase import Atoms

    abtem.config.set({"device": "cpu", "precision": "float32", "fft": "fftw", "antialias.taper": 0.0, "diagnostics.progress_bar": False})
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    atoms = Atoms("SrTiO3", cell=[LATTICE] * 3, pbc=True, scaled_positions=places) * CELLS
    potential = abtem.Potential(atoms, gpts=shape[::-1], slice_thickness=LATTICE / 2, projection="infinite")
    return potential.build(lazy=False)


@cache
def our_stack(shape):
    """Return the same specimen as a stack: planes at the slices' entrances, as abTEM has them."""
    values = abtem_potential(shape).array.transpose(0, 2, 1)
    transmission = np.exp(1j * electrons.interaction_constant(ENERGY) * values)
    grid = Grid(shape=shape, extent=(EXTENT, EXTENT))
    transmission = np.fft.ifft2(np.where(grid.band, np.fft.fft2(transmission), 0)).astype(np.complex64)
    planes = np.arange(len(values)) * LATTICE / 2
    return SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=transmission, planes=planes, thickness=len(values) * LATTICE / 2)


def our_scan(shape, positions):
    """Signals (fractions) of probes at positions, by our multislice, probes made anew."""
    stack = our_stack(shape)
    grid = stack.grid
    angle = grid.k * WAVELENGTH
    beams = np.flatnonzero(angle <= SEMIANGLE)
    weights = ((angle >= 0.060) & (angle < outer_angle(shape)))[None]
    ky, kx = grid.ky[beams // shape[1]], grid.kx[beams % shape[1]]
    phases = -2 * np.pi * (np.outer(positions[:, 0], kx) + np.outer(positions[:, 1], ky))
    coefficients = np.exp(1j * phases).astype(np.complex64) / np.float32(np.sqrt(beams.size))
    return collect(stack, beams, coefficients, weights)[0]


def abtem_scan(shape, positions):
    """Return the same by abTEM."""
    import abtem

    potential = abtem_potential(shape)
    probe = abtem.Probe(energy=ENERGY, semiangle_cutoff=SEMIANGLE * 1e3, soft=False)
    probe.grid.match(potential)
    detector = abtem.AnnularDetector(inner=60, outer=outer_angle(shape) * 1e3)
    return probe.scan(potential, scan=abtem.CustomScan(positions), detectors=detector).compute().array


def against_abtem(shape):
    """Both sides at new positions each time; they must agree before they are timed."""
    rng = np.random.default_rng(1)
    positions = new_positions(rng, 16)
    ours, theirs = our_scan(shape, positions), abtem_scan(shape, positions)
    np.testing.assert_allclose(ours, theirs, rtol=5e-5)

    def once(scan):
        scan(shape, new_positions(rng))

    return partial(once, our_scan), partial(once, abtem_scan)


def against_fftw(shape):
    """One step of ours against a forward and a backward FFTW transform of the same waves, per wave."""
    import pyfftw

    rng = np.random.default_rng(2)
    stack, batch = our_stack(shape), 16 * thread_count()
    waves = pyfftw.empty_aligned((batch, *shape), "complex64")
    plans = [
        pyfftw.FFTW(waves, waves, axes=(1, 2), direction=direction, flags=("FFTW_MEASURE",), threads=thread_count())
        for direction in ("FFTW_FORWARD", "FFTW_BACKWARD")
    ]
    waves[:] = rng.standard_normal((batch, *shape))

    def ours():
        our_scan(shape, new_positions(rng, 2 * batch))
        return 2 * batch * len(stack.planes)

    def theirs():
        for plan in plans:
            plan.execute()
        return batch

    return ours, theirs


def against_matrix_product(shape):
    """Return both sides per 10^9 floating-point operations; ours: 5 n log2 n per line that is transformed."""
    rng = np.random.default_rng(3)
    stack = our_stack(shape)
    ny, nx = shape
    kept = int(np.count_nonzero(np.abs(stack.grid.kx) < stack.grid.band_limit))
    per_step = 2 * 5 * (ny * nx * np.log2(nx) + kept * ny * np.log2(ny))
    a = rng.standard_normal((4096, 4096), np.float32)
    b = rng.standard_normal((4096, 4096), np.float32)
    product = np.empty_like(a)

    def ours():
        our_scan(shape, new_positions(rng, 128))
        return 128 * len(stack.planes) * per_step / 1e9

    def theirs():
        np.matmul(a, b, out=product)
        return 2 * 4096**3 / 1e9

    return ours, theirs


def in_windows():
    """Return windows to 0.9 %, specimen and check included, and some probes through the whole field, without its waves for tails; per probe."""
    sample = load_sample("mos2-1h", size_angstrom=(100.0, 100.0))
    scan = RasterScan(shape=(64, 64), field_of_view_angstrom=sample.size_angstrom)
    beam, dark = Beam(energy_ev=80e3, semiangle_mrad=25), AnnularDetector(inner_mrad=60, outer_mrad=150)
    asked = Request(sample=sample, beam=beam, scan=scan, detectors=(dark,), engine="multislice", phonons="static", tolerance=0.009)
    plan = make_plan(asked)
    (stack,) = slice_stacks.stacks(asked, plan)
    weights = operator_cache.detector_weights(asked, plan)
    few = scan.points()[:: scan.count // WHOLE]

    def ours():
        multislice.signals(asked, plan, None)
        return scan.count

    def theirs():
        single_probes.window_signals(stack, few, beam.aberrations, beam.semiangle_rad, weights)
        return len(few)

    return ours, theirs


FIRST_CALL = """
import numpy as np
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, collect
grid = Grid(shape=(256, 256), extent=(16.0, 16.0))
stack = SliceStack(grid=grid, wavelength=0.025, transmission=np.ones((5, 256, 256), np.complex64), planes=np.arange(5.0), thickness=5.0)
collect(stack, np.array([0]), np.ones((32, 1), np.complex64), np.ones((1, 256, 256), np.float32))
"""


def first_call():
    """A fresh process that imports the engine and images, with the compiled kernels on disk."""
    return lambda: subprocess.run([sys.executable, "-c", FIRST_CALL], check=True, env=os.environ.copy()).returncode, None


def ratio(ours, theirs):
    """Peer's time over ours."""
    return theirs / ours


ROWS = [
    *(
        Row(
            work=f"multislice {shape[0]} x {shape[1]}, {SLICES} slices, {PROBES} probes, 60-{outer_angle(shape) * 1e3:.0f} mrad, against abTEM",
            bar=bar,
            prepare=partial(against_abtem, shape),
            value=ratio,
        )
        for shape, bar in (((512, 512), 7), ((256, 256), 7), ((480, 400), 6))
    ),
    Row(work="one step 512 x 512 against two FFTW transforms (MEASURE)", bar=2, prepare=partial(against_fftw, (512, 512)), value=ratio),
    Row(work="floating-point rate 512 x 512 against sgemm 4096", bar=0.4, prepare=partial(against_matrix_product, (512, 512)), value=ratio),
    Row(
        work="multislice, 100 A of MoS2, 4096 probes, 0.9 %: windows with their check against the whole field", bar=7, prepare=in_windows, value=ratio
    ),
    Row(work="first call in a fresh process, kernels on disk", bar=2, prepare=first_call, value=lambda ours, _: ours, unit="s", at_most=True),
]
