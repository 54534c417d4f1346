"""A small U-Net for ``defects``: its input from a recorded frame and its mean unit cell, and defects from its output.

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
    """Return the maps of an image.

    Parameters
    ----------
    image : ndarray
        (ny, nx) electrons on pixels of 0.15 A.
    material : str
        Name of the layer.
    noise : float
        Standard deviation of the noise of these pixels, e-.

    Returns
    -------
    ndarray
        (6, ny, nx) float32: the deviation from the mean in standard deviations; the mean unit cell at each pixel, and the residual from it, in units
        of the cell's height; the residual in units of the contrasts of two defects of the material, so that 1 means the same in every material; a
        constant map of the logarithm of the noise.
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
    """Return the maps of the inputs of a sample."""
    electrons, step = electrons_of(given), float(given["sampling_angstrom"])
    return features(point_network.resampled(electrons, step), str(given["material"]), point_network.resampled_noise(electrons, step))


class DefectNetwork(point_network.PointNetwork):
    """The trained U-Net of defects; classes that a material does not have are left out.

    See :class:`stemtwin.benchmarks.point_network.PointNetwork`.
    """

    MODEL = MODEL
    APART_ANGSTROM = 1.6

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the defects, with the probability of each as its confidence."""
        del rng
        return self.points(maps_of(given), given)

    def points(self, maps: np.ndarray, given: Mapping[str, Any]) -> Points:
        """Return the defects in a sample whose maps are known."""
        known = contrasts(str(given["material"]))
        allowed = np.array([name in known for name in CLASSES])
        positions, classes, probability = self.located(maps, np.shape(given["image"]), float(given["sampling_angstrom"]), allowed)
        return Points.at(positions, classes=classes + 1, confidence=probability)
