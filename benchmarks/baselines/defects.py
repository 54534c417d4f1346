"""Baselines of ``defects``: peaks of unusual height, the residual from the mean unit cell, a small U-Net, and an oracle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.feature import peak_local_max

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.defect_network import DefectNetwork
from stemtwin.benchmarks.families.defects import CLASSES
from stemtwin.benchmarks.readings import electrons_of
from stemtwin.benchmarks.sheet_lattices import CELL, LATTICE, cell_places, contrasts, mean_cell

SMOOTH_ANGSTROM = 0.45
"""Standard deviation of the smoothing of images before they are compared, A (tuned on val)."""
LEAST_SIGMAS, FAINTEST = 4.5, 0.5
"""Residual at which a site is a defect with probability 1/2, and fraction of this residual above which a site is reported (both tuned on val).

The unit of the residual is its standard deviation over sites of the same kind.
"""
BOND_ANGSTROM, APART_ANGSTROM = 1.75, 1.6
"""Largest distance of two vacancies that form a pair, and smallest distance of two defects, A."""
STUDENT_PX, STUDENT_DISTANCE_PX, STUDENT_SIGMAS = 4.0, 8, 2.0


class OddPeaks:
    """Peaks of the smoothed image whose height differs from the mean height of all peaks by more than two standard deviations.

    Dark peaks are classified as single vacancies, and bright peaks as the foreign atoms that occur in the material. The confidence grows with the
    deviation.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the peaks of unusual height as defects."""
        del rng
        image, step = gaussian_filter(np.asarray(given["image"], dtype=float), STUDENT_PX), float(given["sampling_angstrom"])
        peaks = peak_local_max(image, min_distance=STUDENT_DISTANCE_PX, exclude_border=False)
        heights = image[tuple(peaks.T)]
        odd = (heights - heights.mean()) / max(float(heights.std()), 1e-12) if len(heights) else heights
        keep = np.abs(odd) > STUDENT_SIGMAS
        dark, bright = ("V_C", "Si_C") if str(given["material"]) == "graphene" else ("V_X", "M_M")
        classes = np.where(odd[keep] < 0, CLASSES.index(dark) + 1, CLASSES.index(bright) + 1)
        return Points.at(peaks[keep][:, ::-1] * step, classes=classes, confidence=1 - STUDENT_SIGMAS / (2 * np.abs(odd[keep])))


class UnitCellResidual:
    """Detector of sites where the image differs from its mean unit cell; each outlier is classified by its site and its contrast.

    Two reflections, whose spatial frequencies follow from the known lattice constant, give the phase of the lattice at each pixel. This phase is the
    position of the pixel in the unit cell, and the mean cell is the median over the frame. The residual of a site is compared with the residuals of
    all sites of its kind to find outliers. It is compared with the contrast of each class, estimated from atomic numbers to the power 1.7, to find
    the class.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the detected defects, with class and confidence."""
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
    """Return the defects in the frame from candidates (position in A, class, ratio of the residual to its threshold).

    Between two adjacent candidates for carbon vacancies, a candidate for a divacancy is added if both ratios are above 1. Of candidates closer to
    each other than 1.6 A, only the one with the largest ratio is returned.
    """
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


def site_kinds(cell: np.ndarray, material: str) -> dict[str, list[np.ndarray]]:
    """Return the fractional positions in the unit cell, (2,) each, by kind of site.

    The kinds are metal, chalcogen and hollow; in graphene both carbon sites are listed as metal.
    """
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
    """Return all positions in the frame, (n, 2), x and y in A, that correspond to one fractional position in the unit cell.

    ``places`` holds the fractional position of every pixel, (2, ny, nx).
    """
    u, v = (2 * np.pi * (axis - middle) for axis, middle in zip(places, fraction, strict=True))
    waves = np.cos(u) + np.cos(v) + np.cos(u - v)
    peaks = peak_local_max(waves, min_distance=max(1, round(0.8 / step)), threshold_abs=1.5, exclude_border=False)
    return peaks[:, ::-1] * step


def values_at(image: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return the values (n,) of an image at positions (n, 2), x and y in A, by linear interpolation."""
    return map_coordinates(image, [places[:, 1] / step, places[:, 0] / step], order=1, mode="nearest")


class DefectsOracle:
    """Oracle that returns the true defects."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the truth, which only an oracle receives, with full confidence."""
        del rng
        truth = given["truth"]
        return Points.at(truth.positions, classes=truth.classes, confidence=np.ones(len(truth.classes)))


add_baseline(Baseline(task="defects", name="odd-peaks", text="peaks that are darker or brighter than the others", factory=OddPeaks))
_TEXT = "residual from the mean unit cell, classified by site and contrast"
add_baseline(Baseline(task="defects", name="residual", text=_TEXT, factory=UnitCellResidual))
_TEXT = "a small U-Net on the image and its residual from the mean unit cell, trained on the train split; needs onnxruntime"
add_baseline(Baseline(task="defects", name="unet", text=_TEXT, factory=DefectNetwork))
add_baseline(Baseline(task="defects", name="oracle", text="the truth itself", factory=DefectsOracle, oracle=True))
