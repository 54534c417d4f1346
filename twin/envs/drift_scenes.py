"""Scenes of ``stemtwin/DriftTracking-v1``: images of infinite perfect sheets with one cluster of heavy atoms.

A heavy atom changes the image of the sheet only within a few angstrom. A scene is therefore the image of the perfect
sheet, which has the period of the lattice, plus one change for each heavy atom of the cluster. The change due to an atom
is computed once for each kind of atom, and shifted to the positions of the atoms. Compared with a simulation of the sheet
with the whole cluster, the error of the image is below 1 % of its largest value in MoS2, where all tungsten atoms lie on
equivalent sites. On graphene the change is computed for a gold atom above a carbon atom, but the gold atoms of a cluster lie
above various points of the unit cell; the error is below 6 %. A test checks both limits.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.drift_clusters import Cluster, flat
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
"""Size (y, x) of the periodic box of each sheet, A; each box contains whole unit cells."""
POINTS, FINE = 48, 8
"""Number of points along each side of the image of a box, and factor by which they are refined for linear interpolation.

The number of points suffices for the band limit of the image.
"""
ANGLES = (90.0, 190.0)
"""Inner and outer collection angle of a uniform detector (mrad), which lie within the angles of the instrument's detector."""
GOLD_BOND, GOLD_HEIGHT, GOLD_LAYER = 2.88, 2.6, 2.35
"""Distance between gold atoms, height of the lower atoms above the sheet, height of the upper atom above the lower atoms, A."""
ATOMS = {"graphene": ("lower", "upper"), "mos2-1h": ("lower",)}
"""Kinds of heavy atoms of a cluster by sheet: lower atoms lie in or on the sheet, and the upper atom lies above them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriftScene:
    """Expected image of a sheet with a cluster; it replaces an imaging operator, since the optics are constant.

    Parameters
    ----------
    boxes : ndarray
        Image of a periodic box of the perfect sheet, and image of the box with the cluster, float32, shape (2, ny + 1,
        nx + 1). Each value is the fraction of the beam that reaches the detector, sampled at 0.06 A. The last row and
        the last column repeat the first row and the first column.
    extent : tuple of float
        Height and width of a box, A; the box with the cluster begins at (0, 0).
    feature, single : tuple of float
        Positions (x, y) of the centre of the cluster (mean of its atoms) and of the single atom beside it, A.
    plan : ImagingPlan
        Plan of the images, which defines the detector.
    """

    boxes: np.ndarray
    extent: tuple[float, float]
    feature: tuple[float, float]
    single: tuple[float, float]
    plan: ImagingPlan

    def images(self, states: Sequence[Aberrations], **optics: object) -> "SceneImages":
        """Return one image for each state of the optics; all images are equal, because the optics are constant."""
        del optics
        return SceneImages(scene=self, count=len(states))

    def at(self, points: np.ndarray) -> np.ndarray:
        """Interpolate the image linearly at points (x, y), A.

        ``points`` has the shape (..., 2). The result is float32 and has the shape (...).
        """
        rows, columns = (size - 1 for size in self.boxes.shape[1:])
        y, x = points[..., 1] * (rows / self.extent[0]), points[..., 0] * (columns / self.extent[1])
        row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        down, right = (y - row).astype(np.float32), (x - column).astype(np.float32)
        width = columns + 1
        first = (inside * (rows + 1) + row % rows) * width + column % columns
        table = self.boxes.ravel()
        above = table[first] + right * (table[first + 1] - table[first])
        below = table[first + width] + right * (table[first + width + 1] - table[first + width])
        return above + down * (below - above)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneImages:
    """Images of a scene, one for each of several states of the optics; ``session.acquire_bare`` computes frames from them.

    Parameters
    ----------
    scene : DriftScene
        The scene.
    count : int
        Number of states.
    """

    scene: DriftScene
    count: int

    def sums(self, shape: tuple[int, int]) -> bool:
        """Return False: the image on a raster is not computed as a Fourier series, but point by point, because rasters are rotated."""
        del shape
        return False

    def at_own(self, points: np.ndarray) -> np.ndarray:
        """Return the image of each state at points (x, y) chosen for this state, A.

        The points have the shape (states, P, 2), the result has the shape (states, 1, P).
        """
        return self.scene.at(points)[:, None]

    def own_rasters(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the image of each state on a raster chosen for this state.

        The rows y have the shape (states, ny), the columns x have the shape (states, nx), and the result has the shape
        (states, 1, ny, nx).
        """
        places = [np.stack(np.broadcast_arrays(columns, rows[:, None]), axis=-1) for rows, columns in zip(y, x, strict=True)]
        return self.scene.at(np.stack(places))[:, None]


@functools.lru_cache(maxsize=8)
def sheet(sample: str) -> Sample:
    """Return a periodic box of a perfect sheet.

    Raises
    ------
    KeyError
        The sample has no scene.
    """
    return load_sample(sample, size_angstrom=BOXES[sample], seed=0, thickness_angstrom=12.0)


def with_atoms(sample: str, atoms: Sequence[tuple[str, np.ndarray]]) -> Sample:
    """Return the periodic box of a sheet with heavy atoms: gold on graphene, or tungsten at Mo sites of MoS2.

    Parameters
    ----------
    sample : str
        Name of the sheet.
    atoms : sequence of tuple
        Kind of each atom, and its position (x, y) relative to :func:`centre`, A. On graphene, ``"lower"`` atoms are 2.6 A above the
        sheet, and ``"upper"`` atoms are 2.35 A above the lower atoms. In MoS2, each atom replaces the nearest Mo atom.
    """
    perfect = sheet(sample)
    middle, heights = centre(sample), {"lower": GOLD_HEIGHT, "upper": GOLD_HEIGHT + GOLD_LAYER}
    if sample == "graphene":
        plane = perfect.positions_angstrom[:, 2].mean()
        return add(perfect, ["Au"] * len(atoms), np.array([[*(middle + way), plane - heights[kind]] for kind, way in atoms]), sigma_angstrom=0.08)
    metal = sites(perfect, "Mo")
    at = perfect.positions_angstrom[metal, :2]
    return substitute(perfect, [metal[np.linalg.norm(at - middle - way, axis=1).argmin()] for _, way in atoms], "W")


def centre(sample: str) -> np.ndarray:
    """Return the origin (x, y) of cluster positions, A.

    The origin is the atom nearest to the middle of the perfect sheet, among the atoms of the heaviest element.
    """
    perfect = sheet(sample)
    box = np.array(perfect.size_angstrom[::-1])
    heavy = perfect.positions_angstrom[perfect.numbers == perfect.numbers.max(), :2]
    return heavy[np.linalg.norm(heavy - box / 2, axis=1).argmin()]


def bond(sample: str) -> float:
    """Return the nearest-neighbour distance in the cluster, A: that of gold, or that of the metal atoms of the sheet."""
    return GOLD_BOND if sample == "graphene" else BOXES[sample][1] / 7


def cluster_atoms(sample: str, cluster: Cluster, *, hopped: bool) -> list[tuple[str, np.ndarray]]:
    """Return kind and position of every heavy atom: first the atoms of the cluster, then the single atom beside the cluster.

    The kind is ``"lower"`` (in or on the sheet) or ``"upper"`` (above the lower atoms). Positions (x, y) are relative to
    :func:`centre`, A. With ``hopped``, the single atom is on the site to which it hops.
    """
    upper = [("upper", cluster.upper)] if "upper" in ATOMS[sample] else []
    lower = [("lower", site) for site in cluster.sites]
    named = [*lower, *upper, ("lower", cluster.hopped if hopped else cluster.single)]
    return [(kind, bond(sample) * flat([site])[0]) for kind, site in named]


def request(sample: Sample, beam: Beam, tilt_mrad: float) -> Request:
    """Return the simulation request for the dark-field image of the whole periodic box of a sample."""
    ring = AnnularDetector(inner_mrad=ANGLES[0], outer_mrad=ANGLES[1], name="haadf")
    scan = RasterScan(shape=(POINTS, POINTS), field_of_view_angstrom=sample.size_angstrom)
    return Request(
        sample=sample, beam=beam, scan=scan, detectors=(ring,), engine=thermal.NAME, measure_error=False, tolerance=0.2, tilt_mrad=(tilt_mrad, 0.0)
    )


def box_image(sample: Sample, beam: Beam, tilt_mrad: float) -> np.ndarray:
    """Simulate the dark-field image of the periodic box of a sample; return fractions of the beam, float64, shape (48, 48)."""
    return simulate(request(sample, beam, tilt_mrad))["haadf"].to_numpy().astype(float)


@functools.lru_cache(maxsize=64)
def part(sample: str, beam: Beam, tilt_mrad: float, kind: str = "") -> np.ndarray:
    """Return the image of a perfect sheet or, if ``kind`` is given, the change of this image due to one heavy atom of this kind.

    The image shows one periodic box of the sheet; it is float64, shape (48, 48).
    """
    if not kind:
        found = box_image(sheet(sample), beam, tilt_mrad)
    else:
        found = box_image(with_atoms(sample, [(kind, np.zeros(2))]), beam, tilt_mrad) - part(sample, beam, tilt_mrad)
    found.setflags(write=False)
    return found


def scene(sample: str, cluster: Cluster, beam: Beam, tilt_mrad: float, *, hopped: bool) -> DriftScene:
    """Return the scene of a tilted sheet: one box with the cluster, surrounded by perfect boxes."""
    box, atoms = sheet(sample), cluster_atoms(sample, cluster, hopped=hopped)
    change = np.zeros((POINTS, POINTS))
    for kind in ATOMS[sample]:
        change += placed(part(sample, beam, tilt_mrad, kind), [way for one, way in atoms if one == kind], box.size_angstrom)
    perfect = part(sample, beam, tilt_mrad)
    boxes = np.stack([np.pad(refined(one, FINE), ((0, 1), (0, 1)), mode="wrap") for one in (perfect, perfect + change)])
    boxes = np.maximum(boxes, 0).astype(np.float32)
    boxes.setflags(write=False)
    ways = np.array([way for _, way in atoms]) + centre(sample)
    asked = request(box, beam, tilt_mrad)
    feature, single = ways[:-1].mean(axis=0).tolist(), ways[-1].tolist()
    return DriftScene(
        boxes=boxes,
        extent=box.size_angstrom,
        feature=tuple(feature),
        single=tuple(single),
        plan=ImagingPlan(request=asked, plan=make_plan(asked)),
    )


def placed(image: np.ndarray, ways: Sequence[np.ndarray], extent: tuple[float, float]) -> np.ndarray:
    """Return the sum of copies of a periodic band-limited image, each shifted by one vector (x, y) of ``ways``, A.

    ``extent`` is the height and width of the image, A.
    """
    ny, nx = image.shape
    rows, columns = np.fft.fftfreq(ny, 1 / ny)[:, None] / extent[0], np.arange(nx // 2 + 1) / extent[1]
    turns = sum((np.exp(-2j * np.pi * (rows * y + columns * x)) for x, y in ways), np.zeros((ny, nx // 2 + 1), complex))
    turns[ny // 2] = turns[:, nx // 2] = 0  # the highest frequency has no direction
    return np.fft.irfft2(np.fft.rfft2(image) * turns, image.shape)


def refined(image: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate a periodic band-limited image to ``factor`` times as many points along each axis, float64."""
    ny, nx = image.shape
    found = np.zeros((ny * factor, nx * factor // 2 + 1), complex)
    given = np.fft.rfft2(image)
    half = ny // 2
    found[:half, : nx // 2] = given[:half, : nx // 2]
    found[-half + 1 :, : nx // 2] = given[-half + 1 :, : nx // 2]
    return np.fft.irfft2(found, (ny * factor, nx * factor)) * factor**2


def keys(samples: Sequence[str], tilts_mrad: Sequence[float]) -> list[tuple[str, float, str]]:
    """Return (sample, tilt in mrad, kind of atom) for every image that :func:`part` computes for the given samples and tilts."""
    return [(sample, tilt, kind) for sample, tilt in itertools.product(samples, tilts_mrad) for kind in ("", *ATOMS[sample])]
