"""Annular detectors, and the usual rings and discs by name."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors.kinds import (
    DETECTOR_KINDS,
    DETECTORS,
    LARGEST_ANGLE_MRAD,
    TAKEN_NAMES,
    USUAL_OUTER_MRAD,
    checked_angles,
)
from stemtwin.twin.physics import detector_electronics, detector_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Position-dependent detection efficiency of a detector, relative to its largest value.

    The efficiency at the scattering angle theta and the azimuth phi is the sum 1 + slope rho cos(phi - slope_azimuth) +
    bowl (2 rho^2 - 1) + twofold rho^2 cos(2 (phi - twofold_azimuth)), divided by its largest possible value, with rho =
    theta / outer angle. Below ``dead_mrad`` the efficiency is 0.

    Parameters
    ----------
    slope, slope_azimuth_rad : float
        Amplitude of the variation from side to side, and azimuth of the most efficient side, rad.
    bowl : float
        Amplitude of the variation from the centre to the edge. If it is negative, the centre is more efficient.
    twofold, twofold_azimuth_rad : float
        Amplitude of the twofold variation, and azimuth of the more efficient sides, rad.
    dead_mrad : float
        Angle below which the detector does not detect electrons, mrad.

    Raises
    ------
    SettingsError
        A number is out of range, or the sum of the three amplitudes reaches 1.

    Notes
    -----
    Real detectors vary by 5 to 30 % and have an inactive centre: LeBeau and Stemmer, Ultramicroscopy 108 (2008) 1653.
    """

    slope: float = 0.0
    slope_azimuth_rad: float = 0.0
    bowl: float = 0.0
    twofold: float = 0.0
    twofold_azimuth_rad: float = 0.0
    dead_mrad: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("slope", "bowl", "twofold"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), "", low=-1, high=1))
        for name in ("slope_azimuth_rad", "twofold_azimuth_rad"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), "rad"))
        object.__setattr__(self, "dead_mrad", checks.number("dead_mrad", self.dead_mrad, "mrad", low=0, high=LARGEST_ANGLE_MRAD))
        if (total := abs(self.slope) + abs(self.bowl) + abs(self.twofold)) >= 1:
            message = (
                f"The absolute values of slope, bowl and twofold add up to {total:g}, so the efficiency of a part of the detector could be negative. "
                "Keep their sum below 1."
            )
            raise SettingsError(message)

    def weights(self, ky: np.ndarray, kx: np.ndarray, radius: float) -> np.ndarray:
        """Return the efficiency at positions on a detector, float32, in [0, 1], without regard to ``dead_mrad``.

        ``ky`` and ``kx`` are the positions and ``radius`` is the outer radius of the detector, all in 1/A.
        """
        slope, twofold = (self.slope, self.slope_azimuth_rad), (self.twofold, self.twofold_azimuth_rad)
        return detector_electronics.response(ky, kx, radius, slope, self.bowl, twofold).clip(0, 1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnularDetector:
    """A ring-shaped detector, or a disc if ``inner_mrad`` is 0.

    Parameters
    ----------
    inner_mrad, outer_mrad : float
        Inner and outer angle, mrad. The detector collects scattering angles theta with inner <= theta < outer.
    name : str, optional
        Name of the variable in the result. By default it contains the angles, for example ``annular_60_200``.
    sensitivity : Sensitivity, optional
        Position-dependent efficiency; None: a uniform detector.

    Raises
    ------
    SettingsError
        The angles are out of order or out of range, or ``sensitivity.dead_mrad`` reaches the outer angle.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("mos2-1h", size_angstrom=(8, 8))
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> scan = st.RasterScan(shape=(16, 16), field_of_view_angstrom=(8, 8))
    >>> ring = st.AnnularDetector(inner_mrad=60, outer_mrad=200)
    >>> list(st.simulate(sample, beam, scan, detectors=(ring,), phonons=1))
    ['annular_60_200']
    """

    inner_mrad: float
    outer_mrad: float
    name: str = ""
    sensitivity: Sensitivity | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        inner, outer = checked_angles(self.inner_mrad, self.outer_mrad)
        object.__setattr__(self, "inner_mrad", inner)
        object.__setattr__(self, "outer_mrad", outer)
        object.__setattr__(self, "name", checks.variable_name(self.name, f"annular_{inner:g}_{outer:g}", TAKEN_NAMES))
        if self.sensitivity is None:
            return
        if not isinstance(self.sensitivity, Sensitivity):
            message = f"sensitivity={self.sensitivity!r} is not a Sensitivity. Use Sensitivity(slope=0.1), or leave out sensitivity."
            raise SettingsError(message)
        if self.sensitivity.dead_mrad >= outer:
            message = f"dead_mrad={self.sensitivity.dead_mrad:g} covers the whole detector, which ends at outer_mrad={outer:g}. Lower dead_mrad."
            raise SettingsError(message)

    @property
    def channels(self) -> int:
        """Number of signals, which is 1."""
        return 1

    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the detection efficiency of reciprocal pixels, float32, shape (1, ...); see `Detector.weights` for the arguments."""
        uneven = self.sensitivity
        first = self.inner_mrad if uneven is None else max(self.inner_mrad, uneven.dead_mrad)
        inner, outer = first * 1e-3 / wavelength, self.outer_mrad * 1e-3 / wavelength
        ring = detector_weights.annulus(ky, kx, pixel, inner, outer, antialias=antialias)[None]
        return ring if uneven is None else ring * uneven.weights(ky, kx, outer)

    def scaled(self, factor: float) -> Self:
        """Return the detector under the same name, with its angles, including ``dead_mrad`` of its sensitivity, multiplied by a factor."""
        uneven = self.sensitivity
        dead = None if uneven is None else replace(uneven, dead_mrad=uneven.dead_mrad * factor)
        return replace(self, inner_mrad=self.inner_mrad * factor, outer_mrad=self.outer_mrad * factor, sensitivity=dead)


DETECTOR_KINDS.add("annular", AnnularDetector, "image")


@DETECTORS.register("haadf", "image", "annular")
def _haadf(alpha: float, largest: float) -> AnnularDetector:
    inner, outer = 3 * alpha, min(USUAL_OUTER_MRAD, largest)
    if outer <= inner:
        message = (
            f"haadf starts at 3 x {alpha:g} mrad and ends at {outer:.4g} mrad, the smaller of {USUAL_OUTER_MRAD:g} mrad "
            "and the largest angle of the grid, so it is empty. Use a smaller sampling_angstrom or semiangle_mrad, or an AnnularDetector."
        )
        raise SamplingError(message)
    return AnnularDetector(inner_mrad=inner, outer_mrad=outer, name="haadf")


@DETECTORS.register("maadf", "image", "annular")
def _maadf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=2 * alpha, outer_mrad=3 * alpha, name="maadf")


@DETECTORS.register("laadf", "image", "annular")
def _laadf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=1.05 * alpha, outer_mrad=2 * alpha, name="laadf")


@DETECTORS.register("abf", "image", "annular")
def _abf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=0.5 * alpha, outer_mrad=0.95 * alpha, name="abf")


@DETECTORS.register("bf", "image", "annular")
def _bf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=0.0, outer_mrad=0.5 * alpha, name="bf")
