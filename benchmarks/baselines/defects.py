"""Baselines of ``defects``: odd peaks, the residual from the lattice with contrasts by class, and the truth."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.feature import peak_local_max

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.baselines.atoms_v2 import electrons_of
from stemtwin.benchmarks.families.defects import CLASSES

NUMBERS = {"mos2-1h": (42, 16), "ws2-1h": (74, 16), "wse2-1h": (74, 34), "graphene": (6, 6)}
"""Atomic numbers of the metal and the chalcogen of each material, for graphene those of carbon."""
OTHER = {42: 74, 74: 42, 16: 34, 34: 16}
EXPONENT = 1.7
"""Exponent of the dark-field signal in the atomic number."""
SMOOTH_ANGSTROM = 0.45
"""Standard deviation of the smoothing of images before they are compared, A (tuned on val)."""
LATTICE = {"mos2-1h": 3.16, "ws2-1h": 3.153, "wse2-1h": 3.282, "graphene": 2.46}
"""Lattice constants, A."""
LENGTH_TOLERANCE, PHASE_ANGSTROM, CELL = 0.06, 6.0, 24
"""Tolerance of the length of reflections; standard deviation of the average of their phases, A; bins along an edge of the cell."""
LEAST_SIGMAS, FAINTEST = 4.5, 0.5
"""Residual, in standard deviations over sites of its kind, at which a defect has probability 1/2; least reported part of it (tuned on val)."""
BOND_ANGSTROM, APART_ANGSTROM = 1.75, 1.6
"""Largest distance of two vacancies that form a pair, and smallest distance of two defects, A."""
STUDENT_PX, STUDENT_DISTANCE_PX, STUDENT_SIGMAS = 4.0, 8, 2.0


class OddPeaks:
    """Peaks of the smoothed image that are darker or brighter than the others by two standard deviations.

    Dark peaks are classified as single vacancies and bright peaks as foreign atoms of the material; the confidence grows with the deviation.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the odd peaks."""
        del rng
        image, step = gaussian_filter(np.asarray(given["image"], dtype=float), STUDENT_PX), float(given["sampling_angstrom"])
        peaks = peak_local_max(image, min_distance=STUDENT_DISTANCE_PX, exclude_border=False)
        heights = image[tuple(peaks.T)]
        odd = (heights - heights.mean()) / max(float(heights.std()), 1e-12) if len(heights) else heights
        keep = np.abs(odd) > STUDENT_SIGMAS
        dark, bright = ("V_C", "Si_C") if str(given["material"]) == "graphene" else ("V_X", "M_M")
        classes = np.where(odd[keep] < 0, CLASSES.index(dark) + 1, CLASSES.index(bright) + 1)
        return Points.at(peaks[keep][:, ::-1] * step, classes=classes, confidence=1 - STUDENT_SIGMAS / (2 * np.abs(odd[keep])))


def contrasts(material: str) -> dict[str, tuple[str, float]]:
    """Return, for each defect class of a material, the site and the change of its peak height, in units of an intact metal (or carbon) peak.

    Sites are ``"metal"``, ``"chalcogen"`` and ``"hollow"``; for graphene ``"metal"``, and ``"bond"`` for a pair.
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


class UnitCellResidual:
    """Residual of the image from its mean unit cell at each site of the lattice; outliers are classified by their site and their contrast.

    Two reflections of the known length give the phase of the lattice everywhere, and so the position of each pixel in the cell; the mean cell is the
    median over the frame. A residual is compared with those of all sites of its kind, and with the contrast of each class, estimated from atomic
    numbers to the power 1.7.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the defects."""
        del rng
        step, material = float(given["sampling_angstrom"]), str(given["material"])
        image = gaussian_filter(electrons_of(given), SMOOTH_ANGSTROM / step, mode="reflect")
        places = cell_places(image, step, LATTICE[material])
        cell = mean_cell(image, places)
        kinds = site_kinds(cell, material)
        height = max(float(np.ptp(cell)), 1e-12)
        residual = image - map_coordinates(cell, [places[1] * CELL % CELL, places[0] * CELL % CELL], order=1, mode="grid-wrap")
        known, found = contrasts(material), []
        for kind, fractions in kinds.items():
            sites = np.concatenate([sites_at(places, fraction, step) for fraction in fractions])
            change = values_at(residual, sites, step) / height
            spread = 1.4826 * float(np.median(np.abs(change - np.median(change)))) + 1e-9
            claims = np.abs(change - np.median(change)) / (LEAST_SIGMAS * spread)
            names = {name: contrast for name, (site, contrast) in known.items() if site == kind}
            if names:
                found += [
                    (place, min(names, key=lambda name, value=value: abs(value - names[name]) / (abs(names[name]) + 0.2)), float(claim))
                    for place, value, claim in zip(sites, change, claims, strict=True)
                    if claim > FAINTEST
                ]
        return collected(found, step, image.shape)


def collected(found: list[tuple[np.ndarray, str, float]], step: float, shape: tuple[int, ...]) -> Points:
    """Return candidates (position, class, confidence) in the frame: the strongest of close neighbours; two adjacent carbon vacancies count as one."""
    pairs = []
    for i, (place, name, claim) in enumerate(found):
        for other, second, also in found[:i]:
            if name == second == "V_C" and np.linalg.norm(place - other) < BOND_ANGSTROM and min(claim, also) > 1:
                pairs.append(((place + other) / 2, "V_2C", claim + also))
    every = sorted([*found, *pairs], key=lambda one: -one[2])
    kept: list[tuple[np.ndarray, str, float]] = []
    limit = (np.array(shape[::-1]) - 1) * step
    for place, name, claim in every:
        if (place >= 0).all() and (place <= limit).all() and all(np.linalg.norm(place - other) > APART_ANGSTROM for other, _, _ in kept):
            kept.append((place, name, claim))
    claims = np.array([claim for _, _, claim in kept])
    classes = np.array([CLASSES.index(name) + 1 for _, name, _ in kept], dtype=np.int64)
    return Points.at(np.array([place for place, _, _ in kept]).reshape(-1, 2), classes=classes, confidence=claims / (1 + claims))


def cell_places(image: np.ndarray, step: float, lattice: float) -> np.ndarray:
    """Return the position of each pixel in the hexagonal cell, (2, ny, nx) in units of its edges, modulo whole cells and one common shift.

    Parameters
    ----------
    image : ndarray
        (ny, nx) image of the lattice.
    step : float
        A/px.
    lattice : float
        Lattice constant, A: reflections are sought within 6 % of its length.
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
    """Return the median of an image over the cells of its lattice, (24, 24): the second axis along the first edge."""
    bins = (np.floor(places * CELL + 0.5).astype(np.int64) % CELL).reshape(2, -1)
    index = bins[1] * CELL + bins[0]
    order = np.argsort(index, kind="stable")
    ends = np.searchsorted(index[order], np.arange(CELL**2 + 1))
    values = image.ravel()[order]
    found = [float(np.median(values[low:high])) if high > low else np.nan for low, high in itertools.pairwise(ends)]
    cell = np.array(found).reshape(CELL, CELL)
    return np.where(np.isfinite(cell), cell, np.nanmedian(cell))


def site_kinds(cell: np.ndarray, material: str) -> dict[str, list[np.ndarray]]:
    """Return the positions in the cell, (2,) each, by kind of site: metal, chalcogen and hollow; in graphene both carbon sites count as metal."""
    thirds = [np.array([1, 2]) / 3, np.array([2, 1]) / 3]
    smooth = gaussian_filter(cell, 1.0, mode="wrap")

    def level(place: np.ndarray) -> float:
        return float(map_coordinates(smooth, [[place[1] * CELL], [place[0] * CELL]], order=1, mode="grid-wrap")[0])

    extreme = np.argmin(smooth) if material == "graphene" else np.argmax(smooth)
    start = np.array(np.unravel_index(int(extreme), smooth.shape))[::-1] / CELL
    others = sorted((start + third for third in thirds), key=level)
    if material == "graphene":
        return {"hollow": [start], "metal": others}
    return {"metal": [start], "hollow": [others[0]], "chalcogen": [others[1]]}


def sites_at(places: np.ndarray, fraction: np.ndarray, step: float) -> np.ndarray:
    """Return the positions (n, 2) x and y, A, in the frame that lie at one position of the cell."""
    u, v = (2 * np.pi * (axis - middle) for axis, middle in zip(places, fraction, strict=True))
    waves = np.cos(u) + np.cos(v) + np.cos(u - v)
    peaks = peak_local_max(waves, min_distance=max(1, round(0.8 / step)), threshold_abs=1.5, exclude_border=False)
    return peaks[:, ::-1] * step


def values_at(image: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return the values (n,) of an image at positions (n, 2), A."""
    return map_coordinates(image, [places[:, 1] / step, places[:, 0] / step], order=1, mode="nearest")


class DefectsOracle:
    """The true defects."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the truth, which only an oracle receives, with full confidence."""
        del rng
        truth = given["truth"]
        return Points.at(truth.positions, classes=truth.classes, confidence=np.ones(len(truth.classes)))


add_baseline(Baseline(task="defects", name="odd-peaks", text="peaks that are darker or brighter than the others", factory=OddPeaks))
_TEXT = "residual from the mean unit cell, classified by site and contrast"
add_baseline(Baseline(task="defects", name="residual", text=_TEXT, factory=UnitCellResidual))
add_baseline(Baseline(task="defects", name="oracle", text="the truth itself", factory=DefectsOracle, oracle=True))
