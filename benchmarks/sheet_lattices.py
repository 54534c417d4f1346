"""Lattices of monolayers in images: the position of each pixel in the unit cell, the mean cell, and the contrast of point defects."""

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter

NUMBERS = {"mos2-1h": (42, 16), "ws2-1h": (74, 16), "wse2-1h": (74, 34), "graphene": (6, 6)}
"""Atomic numbers of the metal and the chalcogen of each material, for graphene those of carbon."""
OTHER = {42: 74, 74: 42, 16: 34, 34: 16}
EXPONENT = 1.7
"""Exponent of the atomic number in the dark-field signal."""
LATTICE = {"mos2-1h": 3.16, "ws2-1h": 3.153, "wse2-1h": 3.282, "graphene": 2.46}
"""Lattice constants, A."""
LENGTH_TOLERANCE, PHASE_ANGSTROM, CELL = 0.06, 6.0, 24
"""Tolerance of the length of reflections; standard deviation of the Gaussian that averages their phases, A; bins along an edge of the cell."""


def contrasts(material: str) -> dict[str, tuple[str, float]]:
    """Return the site of each defect class of a material, and the change of the peak height there in units of an intact metal (or carbon) peak.

    Sites are ``"metal"``, ``"chalcogen"`` and ``"hollow"``. For graphene, ``"metal"`` is a carbon site, and ``"bond"`` is a pair of carbon sites.
    """
    first, second = NUMBERS[material]

    def height(number: int) -> float:
        return (number / first) ** EXPONENT

    if material == "graphene":
        return {"V_C": ("metal", -1.0), "V_2C": ("bond", -1.0), "Si_C": ("metal", height(14) - 1), "N_C": ("metal", height(7) - 1)}
    return {
        "V_X": ("chalcogen", -height(second)),
        "V_2X": ("chalcogen", -2 * height(second)),
        "V_M": ("metal", -1.0),
        "M_M": ("metal", height(OTHER[first]) - 1),
        "X_X": ("chalcogen", height(OTHER[second]) - height(second)),
        "M_2X": ("chalcogen", 1 - 2 * height(second)),
        "M_ad": ("hollow", 1.0),
    }


def cell_places(image: np.ndarray, step: float, lattice: float) -> np.ndarray:
    """Return the fractional coordinates of each pixel in the hexagonal cell, (2, ny, nx).

    The coordinates are determined up to integers, and up to the origin of the cell, which is the same for all pixels.

    Parameters
    ----------
    image : ndarray
        (ny, nx) image of the lattice.
    step : float
        Pixel size, A.
    lattice : float
        Lattice constant, A. Reflections are sought within 6 % of the spatial frequency that follows from this constant.
    """
    ny, nx = image.shape
    window = np.outer(np.hanning(ny), np.hanning(nx))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    ky, kx = np.fft.fftfreq(ny, step)[:, None], np.fft.fftfreq(nx, step)[None]
    length = 2 / (np.sqrt(3) * lattice)
    ring = np.abs(np.hypot(ky, kx) - length) < LENGTH_TOLERANCE * length
    first = np.unravel_index(np.argmax(np.where(ring, power, 0)), power.shape)
    k1 = np.array([kx[0, first[1]], ky[first[0], 0]])
    turn = np.array([[0.5, -np.sqrt(3) / 2], [np.sqrt(3) / 2, 0.5]])
    near = ring & (np.hypot(kx - (turn @ k1)[0], ky - (turn @ k1)[1]) < 0.2 * length)
    second = np.unravel_index(np.argmax(np.where(near, power, 0)), power.shape)
    y, x = np.mgrid[:ny, :nx] * step
    out = []
    for iy, ix in (first, second):
        carrier = kx[0, ix] * x + ky[iy, 0] * y
        waves = (image - image.mean()) * np.exp(-2j * np.pi * carrier)
        sigma = PHASE_ANGSTROM / step
        slow = gaussian_filter(waves.real, sigma, mode="reflect") + 1j * gaussian_filter(waves.imag, sigma, mode="reflect")
        out.append(carrier + np.angle(slow) / (2 * np.pi))
    return np.array(out)


def mean_cell(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the average unit cell, (24, 24): the median of the pixels of all cells in each of 24 x 24 bins.

    The second axis of the result runs along the first edge of the cell.
    """
    bins = (np.floor(places * CELL + 0.5).astype(np.int64) % CELL).reshape(2, -1)
    index = bins[1] * CELL + bins[0]
    order = np.argsort(index, kind="stable")
    ends = np.searchsorted(index[order], np.arange(CELL**2 + 1))
    values = image.ravel()[order]
    found = [float(np.median(values[low:high])) if high > low else np.nan for low, high in itertools.pairwise(ends)]
    cell = np.array(found).reshape(CELL, CELL)
    return np.where(np.isfinite(cell), cell, np.nanmedian(cell))
