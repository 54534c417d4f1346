"""Speed of the dense imaging operator: a new state of the optics, many states at once, building it, and abTEM's scattering matrix beside it."""

import itertools
from functools import cache, partial

import numpy as np

import stemtwin as st
from stemtwin.twin.instrument.simulation import operator_cache, slice_stacks
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import imaging_operator
from stemtwin.twin.physics.grids import Grid
from tests.speed.run import Row

ENERGY = 200e3
SEMIANGLE = 0.020
SHAPE = (384, 384)
POINTS = (128, 128)
STATES = 16
CONFIGURATIONS = 8
ABTEM_PROBES = 64
ABTEM_CELLS = (4, 4, 2)  # SrTiO3; abTEM's build takes minutes at 20 nm, and its images do not depend on the thickness
LATTICE = 3.905


def request(thickness, phonons):
    """SrTiO3 [001], 16 A, HAADF 60-200 mrad, with thermal motion."""
    return st.Request(
        sample=st.load_sample("srtio3-001", thickness_angstrom=thickness),
        beam=st.Beam(energy_ev=ENERGY, semiangle_mrad=SEMIANGLE * 1e3),
        scan=st.RasterScan(shape=POINTS, field_of_view_angstrom=(16, 16)),
        detectors=(st.AnnularDetector(inner_mrad=60, outer_mrad=200),),
        grid=SHAPE,
        phonons=phonons,
    )


def build(asked):
    """Return the operator of a request, one block of beams, potential and transmission included."""
    plan = st.explain(asked)
    return imaging_operator.build(slice_stacks.stacks(asked, plan), SEMIANGLE, operator_cache.detector_weights(asked, plan))


@cache
def operator():
    """Return an operator of two thin configurations: images take as long as from any other number and thickness."""
    return build(request(8.0, 2))


@cache
def some_states():
    """400 states of the optics, all coefficients up to fifth order."""
    rng, scale = np.random.default_rng(0), {1: 50.0, 2: 500.0, 3: 1e4, 4: 1e5, 5: 1e7}
    return [
        Aberrations(**{f"C{n}{m}": scale[n] * rng.standard_normal() for n, m in ORDERS}, **{f"phi{n}{m}": rng.uniform(-3, 3) for n, m in ORDERS if m})
        for _ in range(400)
    ]


def new_states():
    """Iterate over states without an end; nothing remembers one that was seen before."""
    return itertools.cycle(some_states())


def axis():
    """Pixels of the raster, A."""
    return np.arange(POINTS[0]) * operator().grid.extent[0] / POINTS[0]


def path():
    """A rotated raster with errors of a tenth of a pixel, new each time the caller asks."""
    grid = np.stack(np.meshgrid(axis(), axis()), axis=-1) @ np.array([[0.95, 0.31], [-0.31, 0.95]])
    return grid + 0.01 * np.random.default_rng().standard_normal(grid.shape)


def one_image(read):
    """One new state and its image, with finite source and focal spread; calls in one measurement are repeated and divided by their number."""
    new, made, repeats = new_states(), operator(), 50

    def ours():
        for _ in range(repeats):
            read(made.image(next(new), source_size=0.3, focal_spread=30.0))
        return repeats

    return ours, None


def on_raster():
    """Time a raster."""
    y = axis()
    return one_image(lambda image: image.raster(y, y))


def on_path():
    """Time scattered points."""
    points = path()
    return one_image(lambda image: image.at(points))


def many_states():
    """Many states in one call, against one after the other, rasters included."""
    new, made, y = new_states(), operator(), axis()

    def ours():
        for _ in range(10):
            made.images([next(new) for _ in range(STATES)], source_size=0.3, focal_spread=30.0).raster(y, y)
        return 10 * STATES

    def theirs():
        for _ in range(10 * STATES):
            made.image(next(new), source_size=0.3, focal_spread=30.0).raster(y, y)
        return 10 * STATES

    return ours, theirs


def building():
    """One thermal configuration of 20 nm."""
    asked = request(200.0, 1)
    return quietly(partial(build, asked)), None


def quietly(function):
    """Return a function that does the work and says nothing about units."""

    def call():
        function()

    return call


@cache
def abtem_potential():
    """SrTiO3 [001] as a built abTEM potential."""
    import abtem
    from ase import Atoms

    abtem.config.set({"device": "cpu", "precision": "float32", "fft": "fftw", "antialias.taper": 0.0, "diagnostics.progress_bar": False})
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    atoms = Atoms("SrTiO3", cell=[LATTICE] * 3, pbc=True, scaled_positions=places) * ABTEM_CELLS
    return abtem.Potential(atoms, gpts=SHAPE[::-1], slice_thickness=LATTICE / 2, projection="infinite").build(lazy=False)


def abtem_matrix():
    """Build abTEM's scattering matrix, every beam of the aperture."""
    import abtem

    matrix = abtem.SMatrix(potential=abtem_potential(), energy=ENERGY, semiangle_cutoff=SEMIANGLE * 1e3, interpolation=1, downsample=False)
    return matrix.build(lazy=False)


def abtem_image(matrix, defocus):
    """Signals at ABTEM_PROBES points of the raster's first rows, HAADF 60-200 mrad."""
    import abtem

    points = np.stack(np.meshgrid(axis()[:8], axis()[: ABTEM_PROBES // 8]), axis=-1).reshape(-1, 2)
    detector = abtem.AnnularDetector(inner=60, outer=200)
    ctf = abtem.CTF(energy=ENERGY, semiangle_cutoff=SEMIANGLE * 1e3, defocus=defocus, soft=False)
    measured = matrix.reduce(scan=abtem.CustomScan(points), detectors=detector, ctf=ctf)
    return np.asarray((measured.compute() if measured.is_lazy else measured).array), points


@cache
def same_stack():
    """Return abTEM's potential as our slices: planes at the slices' entrances."""
    values = abtem_potential().array.transpose(0, 2, 1)
    grid = Grid(shape=SHAPE, extent=(LATTICE * ABTEM_CELLS[1], LATTICE * ABTEM_CELLS[0]))
    transmission = np.exp(1j * electrons.interaction_constant(ENERGY) * values)
    transmission = np.fft.ifft2(np.where(grid.band, np.fft.fft2(transmission), 0)).astype(np.complex64)
    planes = np.arange(len(values)) * LATTICE / 2
    return SliceStack(
        grid=grid, wavelength=electrons.wavelength(ENERGY), transmission=transmission, planes=planes, thickness=len(values) * LATTICE / 2
    )


def ring(ky, kx, _pixel):
    """Pixel masks of 60-200 mrad."""
    angle = np.hypot(ky, kx) * electrons.wavelength(ENERGY)
    return ((angle >= 0.060) & (angle < 0.200)).astype(np.float32)[None]


def same_operator():
    """Build our operator of the same slices."""
    return imaging_operator.build(iter([same_stack()]), SEMIANGLE, ring, antialias=False)


def checked():
    """Return both, once they agree on an image out of focus."""
    ours, theirs = same_operator(), abtem_matrix()
    signals, points = abtem_image(theirs, 40.0)
    np.testing.assert_allclose(ours.image(Aberrations(C10=-40.0)).at(points)[0], signals.ravel(), rtol=1e-3)
    return ours, theirs


def further_image():
    """A further image by both; abTEM's time is that of 64 probes, taken as one part in 256 of the work."""
    ours, theirs = checked()
    new, y = new_states(), axis()

    def mine():
        for _ in range(50):
            ours.image(next(new)).raster(y, y)
        return 50

    def peer():
        abtem_image(theirs, 20.0)
        return ABTEM_PROBES / np.prod(POINTS)

    return mine, peer


def first_image():
    """Building and 64 probes by both: less than abTEM needs for a whole image, all that ours needs."""
    checked()
    y = axis()
    return quietly(lambda: same_operator().image(Aberrations()).raster(y, y)), quietly(lambda: abtem_image(abtem_matrix(), 20.0))


OPERATOR = "dense operator, 16 A, 533 beams, thermal"
ROWS = [
    Row(work=f"{OPERATOR}: new aberrations, image 128 x 128", bar=2, prepare=on_raster, value=lambda ours, _: ours * 1e3, unit="ms", at_most=True),
    Row(work=f"{OPERATOR}: the same on a rotated, distorted path", bar=2, prepare=on_path, value=lambda ours, _: ours * 1e3, unit="ms", at_most=True),
    Row(work=f"{OPERATOR}: {STATES} states in one call, against one by one", bar=1, prepare=many_states, value=lambda ours, theirs: theirs / ours),
    Row(
        work=f"building it: 384 x 384, 20 nm SrTiO3, {CONFIGURATIONS} phonon configurations ({CONFIGURATIONS} x one)",
        bar=150,
        prepare=building,
        value=lambda ours, _: ours * CONFIGURATIONS,
        unit="s",
        at_most=True,
    ),
    Row(
        work=f"abTEM's SMatrix on the same cell, each further image (abTEM extrapolated from {ABTEM_PROBES} probes) / ours",
        bar=1,
        prepare=further_image,
        value=lambda ours, theirs: theirs / ours,
    ),
    Row(
        work=f"abTEM's SMatrix, 0.8 nm, build and {ABTEM_PROBES} probes / ours, build and a whole image",
        bar=1,
        prepare=first_image,
        value=lambda ours, theirs: theirs / ours,
    ),
]
