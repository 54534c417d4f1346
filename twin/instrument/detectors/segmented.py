"""Segmented detectors: rings divided into equal segments."""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.instrument.detectors.kinds import DETECTOR_KINDS, DETECTORS, TAKEN_NAMES, checked_angles
from stemtwin.twin.physics import detector_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedDetector:
    """A ring divided into equal segments; the result has a dimension ``segment``.

    Parameters
    ----------
    inner_mrad, outer_mrad : float
        Inner and outer angle, mrad.
    segments : int
        Number of segments. They are numbered in the direction from +x to +y.
    rotation_rad : float
        Azimuth of the first segment's centre, rad.
    name : str, optional
        Name of the variable in the result. By default it contains the angles, for example ``segmented_0_20``.

    Raises
    ------
    SettingsError
        The angles or the number of segments are out of range.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("graphene", size_angstrom=(8, 8))
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> scan = st.RasterScan(shape=(16, 16), field_of_view_angstrom=(8, 8))
    >>> quadrants = st.SegmentedDetector(inner_mrad=10, outer_mrad=30, segments=4, name="quadrants")
    >>> signals = st.simulate(sample, beam, scan, detectors=(quadrants,), phonons="damped")
    >>> signals.quadrants.dims
    ('segment', 'y', 'x')
    """

    inner_mrad: float
    outer_mrad: float
    segments: int = 4
    rotation_rad: float = math.pi / 4
    name: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        inner, outer = checked_angles(self.inner_mrad, self.outer_mrad)
        object.__setattr__(self, "inner_mrad", inner)
        object.__setattr__(self, "outer_mrad", outer)
        object.__setattr__(self, "segments", checks.whole("segments", self.segments, low=2, high=64))
        object.__setattr__(self, "rotation_rad", checks.number("rotation_rad", self.rotation_rad, "rad"))
        object.__setattr__(self, "name", checks.variable_name(self.name, f"segmented_{inner:g}_{outer:g}", TAKEN_NAMES))

    @property
    def channels(self) -> int:
        """Number of signals, one for each segment."""
        return self.segments

    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the detection efficiency of reciprocal pixels, float32, shape (segments, ...); see `Detector.weights` for the arguments."""
        inner, outer = self.inner_mrad * 1e-3 / wavelength, self.outer_mrad * 1e-3 / wavelength
        return detector_weights.segments(ky, kx, pixel, inner, outer, self.segments, self.rotation_rad, antialias=antialias)

    def scaled(self, factor: float) -> Self:
        """Return the detector under the same name, with its angles multiplied by a factor."""
        return replace(self, inner_mrad=self.inner_mrad * factor, outer_mrad=self.outer_mrad * factor)


DETECTOR_KINDS.add("segmented", SegmentedDetector, "image")


@DETECTORS.register("dpc4", "image", "segmented")
def _dpc4(alpha: float, largest: float) -> SegmentedDetector:  # noqa: ARG001 - one signature for all detectors
    return SegmentedDetector(inner_mrad=0.0, outer_mrad=1.2 * alpha, name="dpc4")
