"""Observations of ``stemtwin/AtomForge-v1``: the graph around the dopant with detection noise, or the brightest point of a frame."""

import functools

import numpy as np
from scipy import ndimage

from stemtwin.twin.envs import forge_scenes
from stemtwin.twin.envs.forge_scenes import CARBON, FIELD_ANGSTROM, FRAME_PX, NITROGEN, SILICON, ForgePreset, ForgeScene
from stemtwin.twin.envs.functional_env import read_only

NEAR_ANGSTROM, FAR_ANGSTROM, FAR_BONDS = 3.0, FIELD_ANGSTROM, 20
"""Units of the positions relative to Si (A), of the vector to the target (A) and of the number of bonds to the target."""
NEIGHBOUR = 5
"""Number of features of each neighbour of Si."""
DRILLED, PLACE = 33, 4
"""Number of S sites on the exit face in the field, and number of features of each site."""
WIDTHS = {"walk": 6 + 3 * NEIGHBOUR, "drill": PLACE * DRILLED}
"""Number of features by goal, without those of the budget and of the beam energy."""
FULL_EV = 100e3
"""Unit of the beam energy, eV."""
BRIGHTNESS = {0: 0.4, CARBON: 1.0, NITROGEN: 1.2, SILICON: 2.8}
"""Brightness of graphene sites relative to carbon, by atomic number, as in smoothed frames of the microscope."""
SINGLE = 0.5
"""Brightness of an S2 column that has lost one S, relative to a complete column."""
BRIGHTEST = 5.0
"""Largest brightness of a site relative to carbon, and unit of the brightness of the brightest atom."""
BLUR_ANGSTROM = 0.4
"""Standard deviation of the smoothing of the frame before the search for Si, A."""
READINGS = 10
"""Number of readings of a parked beam, equally spaced in time."""
NO_TRACE = read_only(np.zeros(READINGS, np.uint32))
"""Readings without a parked beam."""
DARK = 0.05
"""Mean reading below which a frame is dark, electrons."""


def look(
    preset: ForgePreset, scene: ForgeScene, numbers: np.ndarray, tracked: tuple[float, float], rng: np.random.Generator, *, dark: bool = False
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return the brightness of all sites, the ``state`` observation without budget and beam energy, and the tracked position of Si.

    Parameters
    ----------
    preset : ForgePreset
        Goal and detection noise.
    scene : ForgeScene
        Start of the episode, which contains the target sites.
    numbers : ndarray
        Current atomic number on each site.
    tracked : tuple of float
        Last tracked position (x, y) of Si (A), which is returned if Si is not visible.
    rng : numpy.random.Generator
        Random generator of the noise; every call draws the same number of random numbers.
    dark : bool
        Whether no beam reaches the specimen, so the brightness of all sites is 0.
    """
    flicker = preset.flicker * rng.standard_normal(len(numbers))
    noise = preset.jitter_angstrom * rng.standard_normal((4, 2))
    bright = read_only(np.zeros(len(numbers)) if dark else np.clip(_brightness(preset.goal, numbers) + flicker, 0.0, BRIGHTEST))
    if preset.goal == "drill":
        return bright, read_only(_pattern(scene, bright)), (0.0, 0.0)
    sheet = forge_scenes.lattice("walk")
    found = np.flatnonzero(numbers == SILICON)
    if dark or not len(found) or not sheet.in_field[found[0]]:
        nothing = np.zeros(WIDTHS["walk"], np.float32)
        nothing[0] = bright[sheet.in_field].max() / BRIGHTEST
        return bright, read_only(nothing), tracked
    site = int(found[0])
    place = sheet.places[site] + noise[0]
    sight = read_only(_surroundings(scene.target[0], bright, site, place, noise[1:]))
    return bright, sight, (float(place[0]), float(place[1]))


def _brightness(goal: str, numbers: np.ndarray) -> np.ndarray:
    """Return the brightness of sites without noise."""
    if goal == "drill":
        return np.where(numbers > 0, 1.0, SINGLE)
    out = np.full(len(numbers), BRIGHTNESS[0])
    for number in (CARBON, NITROGEN, SILICON):
        out[numbers == number] = BRIGHTNESS[number]
    return out


def _surroundings(target: int, bright: np.ndarray, site: int, place: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the features of a walk, float32 (21,)."""
    sheet, bonds = forge_scenes.lattice("walk"), forge_scenes.plain_distances(target)
    way = sheet.places[target] - place
    out = [bright[site] / BRIGHTEST, *(2 * place / FIELD_ANGSTROM), *(way / FAR_ANGSTROM), bonds[site] / FAR_BONDS]
    for number, (other, behind) in enumerate(around(target, site)):
        step = (sheet.places[other] + noise[number] - place) / NEAR_ANGSTROM
        out += [*step, bright[other] - 1, *(bright[one] - 1 for one in behind)]
    return np.clip(np.array(out, np.float32), -1, 1)


@functools.lru_cache(maxsize=4096)
def around(target: int, site: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return the neighbours of a site, each with its own neighbours except this site; all are sorted by :func:`ordered`."""
    sheet, bonds = forge_scenes.lattice("walk"), forge_scenes.plain_distances(target)
    behind = {other: tuple(one for one in ordered(sheet.bonds[other], bonds) if one != site) for other in sheet.bonds[site]}
    return tuple((other, behind[other]) for other in ordered(sheet.bonds[site], bonds))


def ordered(sites: tuple[int, ...], bonds: np.ndarray) -> list[int]:
    """Return sites sorted by the length in bonds of their shortest path to the target, then by y, then by x."""
    places = forge_scenes.lattice("walk").places
    return sorted(sites, key=lambda one: (bonds[one], round(places[one, 1], 3), places[one, 0]))


def _pattern(scene: ForgeScene, bright: np.ndarray) -> np.ndarray:
    """Return the features of a pattern, float32 (132,): position, brightness and target flag of the S sites on the exit face."""
    sites = forge_scenes.drilled()
    places = 2 * forge_scenes.lattice("drill").places[sites] / FIELD_ANGSTROM
    out = np.column_stack([places, np.minimum(bright[sites] / 2, 1.0), np.isin(sites, scene.target)])
    return out.astype(np.float32).ravel()


def brightest(image: np.ndarray, before: tuple[float, float]) -> tuple[float, float]:
    """Return the brightest point (x, y) of a frame relative to its centre, A: the centroid around the smoothed maximum.

    For a dark frame, the earlier position ``before`` is returned.
    """
    if image.mean() < DARK:
        return before
    pixel = FIELD_ANGSTROM / FRAME_PX
    smooth = ndimage.gaussian_filter(image.astype(float), BLUR_ANGSTROM / pixel)
    row, column = np.unravel_index(int(smooth.argmax()), smooth.shape)
    axis = pixel * np.arange(FRAME_PX) - FIELD_ANGSTROM / 2
    near = np.hypot(axis[:, None] - axis[row], axis[None, :] - axis[column]) < 2 * BLUR_ANGSTROM
    weight = np.where(near, np.clip(smooth - np.median(smooth), 1e-9, None), 0.0)
    x, y = (weight * axis).sum() / weight.sum(), (weight * axis[:, None]).sum() / weight.sum()
    return float(x), float(y)
