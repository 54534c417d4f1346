"""A small U-Net that finds and names defects in recorded frames, for ``defects``: its input maps, and its use from an ONNX file.

Training is in :mod:`stemtwin.benchmarks.training.defects`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from stemtwin.benchmarks import point_network
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.families.defects import CLASSES
from stemtwin.benchmarks.readings import electrons_of
from stemtwin.benchmarks.sheet_lattices import CELL, LATTICE, cell_places, contrasts, mean_cell

MODEL = Path(__file__).parent / "learned" / "defects.onnx"
INPUTS = 6
"""Maps of the input."""
SMOOTH_ANGSTROM = 0.3
"""Standard deviation of the smoothing before the mean cell is taken, A."""
LIMIT = 6.0
"""Largest magnitude of the maps of the residual."""
COMPARED = {True: ("V_C", "Si_C"), False: ("V_X", "M_M")}
"""Defects whose contrasts are the units of the residual, for graphene and for the other layers.

The contrast of X_X is left out: it is positive in the materials of the train split and negative in WSe2, which is not among them.
"""


def features(image: np.ndarray, material: str, noise: float) -> np.ndarray:
    """Return the input maps of the network for an image.

    Parameters
    ----------
    image : ndarray
        (ny, nx) electrons on pixels of 0.15 A.
    material : str
        Name of the monolayer material.
    noise : float
        Standard deviation of the noise of these pixels, e-.

    Returns
    -------
    ndarray
        (6, ny, nx) float32. Map 0: the deviation from the image's mean, in standard deviations of the image. Maps 1 and 2: the mean unit cell at each
        pixel, and three times the image's residual from it, both in units of the difference between the cell's maximum and minimum. Maps 3 and 4: the
        residual divided by the contrast of one kind of defect of the material (map 3) and of a second kind (map 4). A value of 1 in these two maps
        therefore has the same meaning in every material. Map 5 is constant: the decimal logarithm of the noise in the unit of map 1.
    """
    smooth = point_network.smoothed(image, SMOOTH_ANGSTROM)
    places = cell_places(smooth, point_network.STEP_ANGSTROM, LATTICE[material])
    cell = mean_cell(smooth, places)
    height = max(float(np.ptp(cell)), 1e-6)
    model = map_coordinates(cell, [places[1] * CELL % CELL, places[0] * CELL % CELL], order=1, mode="grid-wrap")
    residual, known = (smooth - model) / height, contrasts(material)
    deviation = (image - image.mean()) / max(float(image.std()), 1e-6)
    scaled = [residual / known[name][1] for name in COMPARED[material == "graphene"]]
    same = np.full(image.shape, np.log10(noise / height))
    return np.clip(np.stack([deviation, (model - cell.min()) / height, 3 * residual, *scaled, same]), -LIMIT, LIMIT).astype(np.float32)


def maps_of(given: Mapping[str, Any]) -> np.ndarray:
    """Return the input maps of the network for a sample."""
    electrons, step = electrons_of(given), float(given["sampling_angstrom"])
    return features(point_network.resampled(electrons, step), str(given["material"]), point_network.resampled_noise(electrons, step))


class DefectNetwork(point_network.PointNetwork):
    """The trained U-Net that finds defects; defect classes that a material does not have are left out.

    See :class:`stemtwin.benchmarks.point_network.PointNetwork`.
    """

    MODEL = MODEL
    APART_ANGSTROM = 1.6

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the defects of a sample; the confidence of a defect is its probability."""
        del rng
        return self.points(maps_of(given), given)

    def points(self, maps: np.ndarray, given: Mapping[str, Any]) -> Points:
        """Return the defects of a sample from its input maps."""
        known = contrasts(str(given["material"]))
        allowed = np.array([name in known for name in CLASSES])
        positions, classes, probability = self.located(maps, np.shape(given["image"]), float(given["sampling_angstrom"]), allowed)
        return Points.at(positions, classes=classes + 1, confidence=probability)
