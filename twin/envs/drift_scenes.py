"""Scenes of ``stemtwin/DriftTracking-v1``: images of sheets with one cluster of heavy atoms, which repeats nowhere in sight.

The sheet is a crystal, so that a scene is put together of images of two boxes of some 22 A: the perfect sheet, and the same box with the cluster in
its middle. Between boxes they agree, since an atom is seen a few angstrom around it alone: the test of the seam holds them to each other.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.bare_frames import ImagingPlan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.engines import thermal
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.defects import add, sites, substitute
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

BOXES = {"graphene": (21.3, 22.1), "mos2-1h": (21.9, 22.12)}
"""Boxes (y, x) of the sheets that have a scene, A: whole cells."""
TILES = 4
"""Boxes along each side of a scene: only one of them holds the cluster."""
POINTS, FINE = 48, 3
"""Points along each side of the image of a box, which hold all its frequencies, and the factor by which it is refined for the spline."""
ANGLES = (90.0, 190.0)
"""Ring of the detector, mrad: even, and within that of the instrument."""
MOTIF = ((0, 0), (1, 0), (0, 1), (0, -1))
"""Places of the cluster in steps of a hexagonal lattice about its middle: no rotation and no mirror image is like it, with the atom beside it."""
BESIDE, HOPPED = (-2, 1), (-2, 2)
"""Place of a single heavy atom beside the cluster, before and after it hops."""
GOLD_BOND, GOLD_HEIGHT, GOLD_LAYER = 2.88, 2.6, 2.35
"""Distance of gold atoms, height of the lower ones above the sheet, and of one atom above these, A."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Expected image of a sheet with a cluster; it stands in for an imaging operator whose optics stay as they are.

    Parameters
    ----------
    spline : ndarray
        Coefficients of a cubic spline of the fractions of the beam on the detector, float64, shape (ny, nx).
    extent : tuple of float
        Height and width, A, over which it repeats.
    feature : tuple of float
        Place (x, y) of the cluster, the mean of its atoms next to the sheet without the single one, A.
    plan : ImagingPlan
        The detector.
    """

    spline: np.ndarray
    extent: tuple[float, float]
    feature: tuple[float, float]
    plan: ImagingPlan

    def images(self, states: Sequence[Aberrations], **optics: object) -> "SceneImages":
        """Return the images of states of the optics, which are all alike."""
        del optics
        return SceneImages(scene=self, count=len(states))

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the image at points (x, y), A, shape (..., 2), as float32, shape (...)."""
        ny, nx = self.spline.shape
        places = np.stack([points[..., 1] * (ny / self.extent[0]), points[..., 0] * (nx / self.extent[1])])
        found = ndimage.map_coordinates(self.spline, places, order=3, mode="grid-wrap", prefilter=False)
        return np.maximum(found, 0).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneImages:
    """Images of a scene for several states of the optics: what bare frames read.

    Parameters
    ----------
    scene : Scene
        The scene.
    count : int
        Number of states.
    """

    scene: Scene
    count: int

    def sums(self, shape: tuple[int, int]) -> bool:
        """Return False: rotated rasters are read point by point."""
        del shape
        return False

    def at_own(self, points: np.ndarray) -> np.ndarray:
        """Return the images at points of their own, (states, P, 2), as (states, 1, P)."""
        return self.scene.at(points)[:, None]

    def own_rasters(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the images on rasters of their own, y (states, ny) and x (states, nx), as (states, 1, ny, nx)."""
        places = [np.stack(np.broadcast_arrays(columns, rows[:, None]), axis=-1) for rows, columns in zip(y, x, strict=True)]
        return self.scene.at(np.stack(places))[:, None]


@functools.lru_cache(maxsize=8)
def sheet(sample: str, *, hopped: bool | None) -> Sample:
    """Return a box of a sheet with a cluster in its middle, its single atom hopped or not; None: the perfect sheet.

    Raises
    ------
    KeyError
        There is no scene of that sample.
    """
    perfect = load_sample(sample, size_angstrom=BOXES[sample], seed=0, thickness_angstrom=12.0)
    if hopped is None:
        return perfect
    places = (*MOTIF, HOPPED if hopped else BESIDE)
    middle = centre(perfect)
    if sample == "graphene":
        plane = perfect.positions_angstrom[:, 2].mean()
        flat = [(*_step(place, bond(sample)), plane - GOLD_HEIGHT) for place in places]
        top = (*_step((1 / 3, 1 / 3), bond(sample)), plane - GOLD_HEIGHT - GOLD_LAYER)
        return add(perfect, ["Au"] * (len(flat) + 1), np.array([*flat, top]) + np.append(middle, 0.0), sigma_angstrom=0.08)
    metal = sites(perfect, "Mo")
    at = perfect.positions_angstrom[metal, :2]
    return substitute(perfect, [metal[np.linalg.norm(at - middle - _step(place, bond(sample)), axis=1).argmin()] for place in places], "W")


def centre(sample: Sample) -> np.ndarray:
    """Return the place (x, y) from which the cluster's atoms are counted, A: of the heaviest atom of the perfect sheet next to the middle."""
    box = np.array(sample.size_angstrom[::-1])
    heavy = sample.positions_angstrom[sample.numbers == sample.numbers.max(), :2]
    return heavy[np.linalg.norm(heavy - box / 2, axis=1).argmin()]


def bond(sample: str) -> float:
    """Return the distance of neighbours in the cluster, A: of gold atoms, or of the metal atoms of the sheet."""
    return GOLD_BOND if sample == "graphene" else BOXES[sample][1] / 7


def _step(place: Sequence[float], length: float) -> np.ndarray:
    """Return a vector (x, y), A, of steps along the two axes of a hexagonal lattice."""
    return length * np.array([place[0] + place[1] / 2, place[1] * 3**0.5 / 2])


def request(sample: Sample, beam: Beam, tilt_mrad: float) -> Request:
    """Return the request of the dark-field image of a whole box."""
    ring = AnnularDetector(inner_mrad=ANGLES[0], outer_mrad=ANGLES[1], name="haadf")
    scan = RasterScan(shape=(POINTS, POINTS), field_of_view_angstrom=sample.size_angstrom)
    return Request(
        sample=sample, beam=beam, scan=scan, detectors=(ring,), engine=thermal.NAME, measure_error=False, tolerance=0.2, tilt_mrad=(tilt_mrad, 0.0)
    )


@functools.lru_cache(maxsize=64)
def box_image(sample: str, beam: Beam, tilt_mrad: float, *, hopped: bool | None) -> np.ndarray:
    """Return the image of one box, fractions of the beam, float64, shape (POINTS, POINTS)."""
    found = simulate(request(sheet(sample, hopped=hopped), beam, tilt_mrad))
    image = found["haadf"].to_numpy().astype(float)
    image.setflags(write=False)
    return image


def scene(sample: str, beam: Beam, tilt_mrad: float, *, hopped: bool) -> Scene:
    """Return the scene of a sheet at a tilt, mrad: one box with the cluster among perfect ones."""
    perfect = box_image(sample, beam, tilt_mrad, hopped=None)
    marked = box_image(sample, beam, tilt_mrad, hopped=hopped)
    whole = np.tile(perfect, (TILES, TILES))
    box, middle = sheet(sample, hopped=None), TILES // 2
    whole[middle * POINTS : (middle + 1) * POINTS, middle * POINTS : (middle + 1) * POINTS] = marked
    extent = (box.size_angstrom[0] * TILES, box.size_angstrom[1] * TILES)
    x, y = (centre(box) + _step(np.mean(MOTIF, axis=0), bond(sample)) + np.array(box.size_angstrom[::-1]) * middle).tolist()
    asked = request(box, beam, tilt_mrad)
    spline = ndimage.spline_filter(refined(whole, FINE), order=3, mode="grid-wrap")
    spline.setflags(write=False)
    return Scene(spline=spline, extent=extent, feature=(x, y), plan=ImagingPlan(request=asked, plan=make_plan(asked)))


def refined(image: np.ndarray, factor: int) -> np.ndarray:
    """Return a periodic band-limited image with so many times the points along each axis, float64."""
    ny, nx = image.shape
    found = np.zeros((ny * factor, nx * factor // 2 + 1), complex)
    given = np.fft.rfft2(image)
    half = ny // 2
    found[:half, : nx // 2] = given[:half, : nx // 2]
    found[-half + 1 :, : nx // 2] = given[-half + 1 :, : nx // 2]
    return np.fft.irfft2(found, (ny * factor, nx * factor)) * factor**2


def keys(samples: Sequence[str], tilts_mrad: Sequence[float], *, event: bool) -> list[tuple[str, float, bool]]:
    """Return sample, tilt and whether the atom has hopped of all scenes that episodes can show."""
    return list(itertools.product(samples, tilts_mrad, (False, True) if event else (False,)))
