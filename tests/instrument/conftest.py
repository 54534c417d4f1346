"""Small specimens, built by hand, and what they are looked at with."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

CELL = 3.905
SITES = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]) * CELL
NUMBERS = np.array([38, 22, 8, 8, 8])


def perovskite(cells: int = 1, layers: int = 1, *, sigma: float | None = 0.08, periodic: bool = True) -> Sample:
    """Return SrTiO3 of so many cells along x and y, and along z."""
    steps = [np.array([i, j, k]) * CELL for i in range(cells) for j in range(cells) for k in range(layers)]
    n = len(steps) * len(NUMBERS)
    return Sample(
        name="perovskite",
        numbers=np.tile(NUMBERS, len(steps)),
        positions_angstrom=np.concatenate([SITES + step for step in steps]),
        size_angstrom=(cells * CELL, cells * CELL),
        thickness_angstrom=layers * CELL,
        thermal_sigma_angstrom=None if sigma is None else np.full(n, sigma),
        periodic=periodic,
    )


def one_atom(x: float, y: float, *, number: int = 79, size: float = 7.0) -> Sample:
    """Return one atom in a periodic box."""
    return Sample(
        name="atom",
        numbers=np.array([number]),
        positions_angstrom=np.array([[x, y, 1.0]]),
        size_angstrom=(size, size),
        thickness_angstrom=2.0,
    )


def vacuum(points: int = 96, side: float = 4.0) -> PotentialSlices:
    """Return nothing, in one slice."""
    return PotentialSlices(array=np.zeros((1, points, points)), sampling_angstrom=(side / points, side / points), z_angstrom=np.zeros(1))


@pytest.fixture(scope="session")
def make_perovskite() -> Callable[..., Sample]:
    """Return the maker of SrTiO3 specimens."""
    return perovskite


@pytest.fixture(scope="session")
def make_atom() -> Callable[..., Sample]:
    """Return the maker of boxes with one atom."""
    return one_atom


@pytest.fixture(scope="session")
def nothing() -> PotentialSlices:
    """Return a slice of vacuum."""
    return vacuum()


@pytest.fixture(scope="session")
def static() -> Sample:
    """Return one static cell of SrTiO3."""
    return perovskite(sigma=None)


@pytest.fixture(scope="session")
def thermal() -> Sample:
    """Return one cell of SrTiO3 with thermal motion."""
    return perovskite()


@pytest.fixture(scope="session")
def beam() -> Beam:
    """Return a coherent beam, a little out of focus and astigmatic."""
    return Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C10=-20, C12=10, phi12=0.3, C21=300, phi21=1.0))


@pytest.fixture(scope="session")
def raster() -> RasterScan:
    """Return a small raster that is not square."""
    return RasterScan(shape=(6, 8), field_of_view_angstrom=(3.0, 4.0), origin_angstrom=(0.3, -0.2))


@pytest.fixture
def no_operators() -> Iterator[None]:
    """Start and end with no operators in the process."""
    operator_cache.clear()
    yield
    operator_cache.clear()
