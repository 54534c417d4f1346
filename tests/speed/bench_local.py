"""The local operator: images of a large field, and the next image after an atom has moved."""

import dataclasses
import functools
import itertools

import numpy as np

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.incremental_operator import ChangingOperator
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import detector_weights, electrons, potential
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.local import local_operator
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.samples.library import load_sample
from tests.speed.run import Row, peak_bytes

ENERGY, SEMIANGLE, INNER, OUTER = 80e3, 25e-3, 60e-3, 150e-3
WAVELENGTH, INTERACTION = electrons.wavelength(ENERGY), electrons.interaction_constant(ENERGY)
SIDE, POINTS = 100.0, 256
BOX = (3.0, 3.6)
"""Around the moved atom, y and x, A: where its change of the transmission is put in."""
WINDOW = 8.0
"""Around it, A: where exp(i sigma V) is computed again."""


def weights(ky, kx, pixel):
    """HAADF, 60 to 150 mrad."""
    return detector_weights.annulus(ky, kx, pixel, INNER / WAVELENGTH, OUTER / WAVELENGTH)[None]


@functools.cache
def field():
    """MoS2, 100 x 100 A, static: atoms, slices, stack."""
    sample = load_sample("mos2-1h", size_angstrom=(SIDE, SIDE))
    shape = tuple(fast_length(int(np.ceil(3.03 * OUTER / WAVELENGTH * side))) for side in sample.size_angstrom)
    grid = Grid(shape=(shape[0], shape[1]), extent=sample.size_angstrom)
    slices = potential.assign_slices(sample.positions_angstrom[:, 2])
    transmission = potential.transmissions(sample.positions_angstrom, sample.numbers, slices, grid, INTERACTION)
    stack = SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=transmission, planes=slices.planes, thickness=sample.thickness_angstrom)
    return sample, slices, stack


def build():
    """Build and check the operator of the field, to 1 %."""
    return local_operator.build([field()[2]], SEMIANGLE, weights, rng=np.random.default_rng(1), tolerance=0.01)


def axes():
    """The raster over the whole field."""
    height, width = field()[2].grid.extent
    return np.arange(POINTS) * height / POINTS, np.arange(POINTS) * width / POINTS


def new_image():
    """A new aberration state, 256 x 256 points over the field."""
    operator, (y, x) = build(), axes()
    states = (Aberrations(C10=10.0 * (n % 7), C12=5.0 * (n % 3)) for n in itertools.count())

    def ours():
        for _ in range(5):
            operator.image(next(states)).raster(y, x)
        return 5

    return ours, None


def moved_atom():
    """One sulphur atom jumps by up to 1 A: transmission, operator, image."""
    sample, slices, stack = field()
    operator, (y, x) = build(), axes()
    rng, at = np.random.default_rng(3), sample.positions_angstrom.copy()
    state = {"stack": stack}
    sulphur = np.flatnonzero(sample.numbers == 16)

    def ours():
        atom = rng.choice(sulphur)
        before = at.copy()
        at[atom, :2] += rng.uniform(-0.7, 0.7, 2)
        old = state["stack"]
        changed = old.transmission.copy()
        potential.update_transmissions(changed, before, at, sample.numbers, slices, old.grid, INTERACTION, reach=WINDOW)
        middle = 0.5 * (before[atom, 1::-1] + at[atom, 1::-1])
        region = tuple((float(m - half), float(m + half)) for m, half in zip(middle, BOX, strict=True))
        put_in = old.transmission.copy()
        spans = [
            np.arange(int(np.floor(low / step)), int(np.ceil(high / step)) + 1) % count
            for (low, high), step, count in zip(region, old.grid.sampling, old.grid.shape, strict=True)
        ]
        where = (slice(None), *np.ix_(*spans))
        put_in[where] = changed[where]
        state["stack"] = dataclasses.replace(old, transmission=put_in)
        operator.update([state["stack"]], [region])
        operator.image(Aberrations(C10=20.0)).raster(y, x)

    return ours, None


def changed_request():
    """The same, from a request to its signals: plan, comparison of the atoms, transmission, operator, image."""
    sample = field()[0]
    scan = RasterScan(shape=(POINTS, POINTS), field_of_view_angstrom=sample.size_angstrom)
    beam = Beam(energy_ev=ENERGY, semiangle_mrad=SEMIANGLE * 1e3, aberrations=Aberrations(C10=20.0))
    dark = AnnularDetector(inner_mrad=INNER * 1e3, outer_mrad=OUTER * 1e3)
    state = {"request": Request(sample=sample, beam=beam, scan=scan, detectors=(dark,), engine="local", phonons="static")}
    held, rng, sulphur = ChangingOperator(), np.random.default_rng(3), np.flatnonzero(sample.numbers == 16)
    held.expected(state["request"])

    def ours():
        now = state["request"].sample
        at = now.positions_angstrom.copy()
        at[rng.choice(sulphur), :2] += rng.uniform(-0.7, 0.7, 2)
        at[:, :2] %= now.size_angstrom[::-1]
        state["request"] = dataclasses.replace(state["request"], sample=dataclasses.replace(now, positions_angstrom=at, recipe=""))
        held.expected(state["request"])

    return ours, None


THICK = """
from tests.speed.bench_local import in_configurations
in_configurations()
"""


def in_configurations():
    """Build the operator of 130 A of MoS2 with 8 configurations, none of them on disk."""
    sample = load_sample("mos2-1h", size_angstrom=(130.0, 130.0))
    request = Request(
        sample=sample,
        beam=Beam(energy_ev=ENERGY, semiangle_mrad=SEMIANGLE * 1e3),
        scan=RasterScan(shape=(POINTS, POINTS), field_of_view_angstrom=sample.size_angstrom),
        detectors=(AnnularDetector(inner_mrad=INNER * 1e3, outer_mrad=OUTER * 1e3),),
        engine="local",
        phonons=8,
    )
    plan = make_plan(request)
    weights, stacks = operator_cache.detector_weights(request, plan), slice_stacks.Configurations(request, plan)
    return local_operator.build(stacks, SEMIANGLE, weights, rng=np.random.default_rng(1), tolerance=0.01)


def peak_memory():
    """Return the peak, MiB, of a process that builds it."""
    return lambda: peak_bytes(THICK) / 2**20, None


def found(ours, _):
    """What ours returned."""
    return ours


def milliseconds(ours, _):
    """Our time."""
    return ours * 1e3


FIELD = "local operator, MoS2 100 x 100 A, 80 kV, 25 mrad, 60-150 mrad, 1 %"
ROWS = [
    Row(
        work="local operator, MoS2 130 x 130 A, 80 kV, 25 mrad, 60-150 mrad, 1 %, 8 configurations: peak memory",
        bar=950,
        prepare=peak_memory,
        value=found,
        unit="MiB",
        at_most=True,
        returned=True,
    ),
    Row(work=f"{FIELD}: new aberrations, image 256 x 256", bar=25, prepare=new_image, value=milliseconds, unit="ms", at_most=True),
    Row(work=f"{FIELD}: one atom moved, until the next image", bar=400, prepare=moved_atom, value=milliseconds, unit="ms", at_most=True),
    Row(work=f"{FIELD}: one atom moved, from request to signals", bar=400, prepare=changed_request, value=milliseconds, unit="ms", at_most=True),
]
