"""Pixelated detector (camera): pixels, camera length, binning, imperfections."""

import math
from dataclasses import dataclass, replace
from typing import Self

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors.kinds import DETECTOR_KINDS, DETECTORS, TAKEN_NAMES

LARGEST_CAMERA = 4096
"""Largest number of pixels along a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelatedDetector:
    """A camera, centred on the optic axis, that records the diffraction pattern at each point (4D-STEM).

    Parameters
    ----------
    shape : tuple of int
        Number of pixels (ny, nx) of the camera, before binning.
    outer_mrad : float, optional
        Angle from the axis to the middle of the nearest edge, mrad. Either this angle or ``camera_length_mm`` is given.
    camera_length_mm : float, optional
        Camera length, mm. A pixel then has an angular size of ``pixel_size_um / camera_length_mm`` mrad.
    pixel_size_um : float
        Side of a pixel before binning, um. It is used only with a camera length.
    binning : int
        Number of pixels along each side of a binned pixel. Both sides of ``shape`` are multiples of this number.
    point_spread_px : float
        Standard deviation s, in binned pixels, of the distance along each axis between the pixel where an electron arrives
        and the pixel where it is counted. The distance has a normal distribution over whole pixels. The modulation
        transfer function is about exp(-2 pi^2 s^2 f^2), with the frequency f in cycles per pixel.
    quantum_efficiency : float
        Probability that an electron is counted.
    dead_fraction, hot_fraction : float
        Fraction of the camera's pixels that never count, and fraction of pixels that also count without electrons.
    hot_counts_per_s, dark_counts_per_s : float
        Count rates without a beam, 1/s: the rate of each hot pixel, and the rate that all pixels have.
    readout_noise_counts : float
        Standard deviation of the read-out error of a binned pixel, counts. The error is normally distributed. A camera
        that counts single electrons has the value 0.
    saturation_counts : float, optional
        Largest count of a binned pixel; None: unlimited.
    defect_seed : int
        Seed of the dead and hot pixels, which are the same in all frames of a camera.
    name : str, optional
        Name of the variable in the result, by default ``pixelated``.

    Raises
    ------
    SettingsError
        A number is out of range, or outer_mrad and camera_length_mm are both given or both missing.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("graphene", size_angstrom=(8, 8))
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> scan = st.RasterScan(shape=(4, 4), field_of_view_angstrom=(4, 4))
    >>> camera = st.PixelatedDetector(shape=(32, 32), outer_mrad=45)
    >>> signals = st.simulate(sample, beam, scan, detectors=(camera,), phonons="damped")
    >>> signals.pixelated.dims
    ('y', 'x', 'ky', 'kx')
    """

    shape: tuple[int, int] = (128, 128)
    outer_mrad: float | None = None
    camera_length_mm: float | None = None
    pixel_size_um: float = 55.0
    binning: int = 1
    point_spread_px: float = 0.0
    quantum_efficiency: float = 1.0
    dead_fraction: float = 0.0
    hot_fraction: float = 0.0
    hot_counts_per_s: float = 1e4
    dark_counts_per_s: float = 0.0
    readout_noise_counts: float = 0.0
    saturation_counts: float | None = None
    defect_seed: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        checked = {
            "shape": checks.whole_pair("shape", self.shape, low=1, high=LARGEST_CAMERA),
            "binning": checks.whole("binning", self.binning, low=1, high=64),
            "pixel_size_um": checks.number("pixel_size_um", self.pixel_size_um, "um", above=0, high=1e4),
            "point_spread_px": checks.number("point_spread_px", self.point_spread_px, "pixels", low=0, high=50),
            "quantum_efficiency": checks.number("quantum_efficiency", self.quantum_efficiency, "counts per electron", above=0, high=1),
            "defect_seed": checks.whole("defect_seed", self.defect_seed, low=0),
            "name": checks.variable_name(self.name, "pixelated", TAKEN_NAMES),
        }
        for field in ("dead_fraction", "hot_fraction"):
            checked[field] = checks.number(field, getattr(self, field), "of the pixels", low=0, high=0.5)
        for field in ("hot_counts_per_s", "dark_counts_per_s"):
            checked[field] = checks.number(field, getattr(self, field), "counts per s", low=0, high=1e9)
        checked["readout_noise_counts"] = checks.number("readout_noise_counts", self.readout_noise_counts, "counts", low=0, high=1e6)
        if self.saturation_counts is not None:
            checked["saturation_counts"] = checks.number("saturation_counts", self.saturation_counts, "counts", low=1, high=1e9)
        if (self.outer_mrad is None) == (self.camera_length_mm is None):
            both = f"outer_mrad={self.outer_mrad} and camera_length_mm={self.camera_length_mm} are both given"
            given = "neither is given" if self.outer_mrad is None else both
            message = f"The angles of a camera follow from either outer_mrad or camera_length_mm, but {given}. Give one of the two."
            raise SettingsError(message)
        if self.outer_mrad is not None:
            checked["outer_mrad"] = checks.number("outer_mrad", self.outer_mrad, "mrad", above=0, high=1000)
        else:
            checked["camera_length_mm"] = checks.number("camera_length_mm", self.camera_length_mm, "mm", above=0, high=1e6)
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        if any(side % self.binning for side in self.shape):
            message = f"binning={self.binning} does not divide shape={self.shape}. Use a divisor of {math.gcd(*self.shape)}."
            raise SettingsError(message)

    @property
    def shape_read(self) -> tuple[int, int]:
        """Number of pixels (ny, nx) after binning."""
        return self.shape[0] // self.binning, self.shape[1] // self.binning

    @property
    def pixel_mrad(self) -> float:
        """Side of a binned pixel, mrad."""
        if self.outer_mrad is not None:
            return 2 * self.outer_mrad / min(self.shape) * self.binning
        assert self.camera_length_mm is not None  # one of the two is given
        return self.pixel_size_um / self.camera_length_mm * self.binning

    @property
    def corner_mrad(self) -> float:
        """Angle from the axis to a corner, which is the largest angle on the camera, mrad."""
        return 0.5 * self.pixel_mrad * math.hypot(*self.shape_read)

    def scaled(self, factor: float) -> Self:
        """Return the camera under the same name, with the angles of its pixels multiplied by a factor."""
        if self.camera_length_mm is not None:
            return replace(self, camera_length_mm=self.camera_length_mm / factor)
        assert self.outer_mrad is not None  # one of the two is given
        return replace(self, outer_mrad=self.outer_mrad * factor)


DETECTOR_KINDS.add("pixelated", PixelatedDetector, "camera")


@DETECTORS.register("pixelated", "camera")
def _pixelated(alpha: float, largest: float) -> PixelatedDetector:
    return PixelatedDetector(shape=(128, 128), outer_mrad=min(2 * alpha, largest / math.sqrt(2)), name="pixelated")


@DETECTORS.register("ronchigram", "camera")
def _ronchigram(alpha: float, largest: float) -> PixelatedDetector:
    return PixelatedDetector(shape=(512, 512), outer_mrad=min(1.25 * alpha, largest / math.sqrt(2)), name="ronchigram")
