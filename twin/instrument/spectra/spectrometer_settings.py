"""Settings of spectrometers, and models of the specimen's energy losses.

[M] marks a literature value that is quoted from memory: a default rather than a reference value.
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import DETECTOR_KINDS, DETECTORS
from stemtwin.twin.physics.spectra import dielectric
from stemtwin.twin.physics.spectra.atomic_masses import NUMBERS
from stemtwin.twin.physics.spectra.dielectric import Material
from stemtwin.twin.physics.spectra.plasmons import FlakeModes

MOST_CHANNELS = 1 << 16
USUAL_WIDTH_EV = 0.35
"""Usual width of a zero-loss peak with a cold field emitter, eV."""
USUAL_RANGE_EV, USUAL_DISPERSION_EV, USUAL_COLLECTION = (-24.0, 1000.0), 0.5, 1.5
"""Usual energy losses and channel width of a spectrometer (eV) and usual ratio of collection to convergence angle."""


class _Binned:
    """Uniform energy channels of both spectrometers."""

    __slots__ = ()
    dimension: ClassVar[str]
    quantity: ClassVar[str]
    energy_range_ev: tuple[float, float]
    dispersion_ev: float

    def _check_axis(self, lowest: float, highest: float) -> None:
        low, high = checks.pair("energy_range_ev", self.energy_range_ev, "eV")
        step = checks.number("dispersion_ev", self.dispersion_ev, "eV", low=1e-3, high=1e3)
        if not lowest <= low < high <= highest:
            message = f"energy_range_ev=({low:g}, {high:g}) eV must increase and lie between {lowest:g} and {highest:g} eV. Give (lowest, highest)."
            raise SettingsError(message)
        if not 2 <= round((high - low) / step) <= MOST_CHANNELS:
            message = f"energy_range_ev=({low:g}, {high:g}) at dispersion_ev={step:g} has {(high - low) / step:g} channels. Use 2 to {MOST_CHANNELS}."
            raise SettingsError(message)
        object.__setattr__(self, "energy_range_ev", (low, high))
        object.__setattr__(self, "dispersion_ev", step)

    def axis(self) -> dict[str, Any]:
        """Return the energy axis of a result by name, with its dimension, energies in eV and attributes."""
        return {self.dimension: (self.dimension, self.energies(), {"units": "eV", "long_name": self.quantity})}

    @property
    def channels(self) -> int:
        """Number of energy channels."""
        return round((self.energy_range_ev[1] - self.energy_range_ev[0]) / self.dispersion_ev)

    def energies(self) -> np.ndarray:
        """Return the energy in the middle of each channel, eV, shape (channels,), from the lower end of the range."""
        return self.energy_range_ev[0] + self.dispersion_ev * np.arange(self.channels)

    def edges(self) -> np.ndarray:
        """Return the boundaries of the channels, eV, shape (channels + 1,)."""
        return self.energy_range_ev[0] + self.dispersion_ev * (np.arange(self.channels + 1) - 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class EELSDetector(_Binned):
    """An energy-loss spectrometer with its camera.

    The mark [M] denotes a literature value given from memory.

    Parameters
    ----------
    energy_range_ev : tuple of float
        Range from the middle of the first channel to the middle of the channel that would follow the last one, eV.
    dispersion_ev : float
        Width of a channel, eV.
    collection_mrad : float
        Collection semi-angle, mrad.
    zero_loss_fwhm_ev : float, optional
        Full width at half maximum of the zero-loss peak, eV. Usual values [M] are 0.3 to 0.35 eV for a cold field
        emitter and 0.7 to 1.0 eV for a Schottky emitter. None: the width of the microscope's source, or 0.35 eV without a microscope.
    zero_loss_asymmetry, zero_loss_lorentz : float
        Shape parameters of :func:`stemtwin.twin.physics.spectra.zeroloss.zero_loss`; the defaults are usual values [M].
    energy_shift_ev : float
        Energy of the zero-loss peak, eV. It describes the drift of the spectrum.
    point_spread_channels : float
        Full width at half maximum of the camera's point spread, channels.
    point_spread_tail : float
        Fraction of the signal in the tails of the point spread.
    gain : float
        Counts per electron.
    read_noise : float
        Standard deviation of one channel's read-out, counts.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    dimension: ClassVar[str] = "energy_loss_ev"
    quantity: ClassVar[str] = "energy loss"
    expected_by: ClassVar[str] = "stemtwin.twin.instrument.spectra.expected_eels"
    energy_range_ev: tuple[float, float]
    dispersion_ev: float
    collection_mrad: float
    zero_loss_fwhm_ev: float | None = None
    zero_loss_asymmetry: float = 0.3
    zero_loss_lorentz: float = 0.03
    energy_shift_ev: float = 0.0
    point_spread_channels: float = 1.5
    point_spread_tail: float = 0.0
    gain: float = 1.0
    read_noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        self._check_axis(-1e3, 2e4)
        limits = {
            "collection_mrad": ("mrad", {"above": 0, "high": 300, "repair": "Did you pass rad?"}),
            "zero_loss_asymmetry": ("1", {"low": -0.9, "high": 0.9}),
            "zero_loss_lorentz": ("1", {"low": 0, "high": 1}),
            "energy_shift_ev": ("eV", {"low": -500, "high": 500}),
            "point_spread_channels": ("channels", {"low": 0, "high": 100}),
            "point_spread_tail": ("1", {"low": 0, "high": 0.9}),
            "gain": ("counts per electron", {"above": 0, "high": 1e6}),
            "read_noise": ("counts", {"low": 0, "high": 1e6}),
        }
        if self.zero_loss_fwhm_ev is not None:
            limits["zero_loss_fwhm_ev"] = ("eV", {"low": 1e-3, "high": 20})
        for name, (unit, limit) in limits.items():
            object.__setattr__(self, name, checks.number(name, getattr(self, name), unit, **limit))

    @property
    def name(self) -> str:
        """Name of the spectrum in a result."""
        return "eels"

    @property
    def width_ev(self) -> float:
        """Full width at half maximum of the zero-loss peak, eV."""
        return USUAL_WIDTH_EV if self.zero_loss_fwhm_ev is None else self.zero_loss_fwhm_ev

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of counted spectra, with units and the metadata that other programs read."""
        known = {"collection_mrad": self.collection_mrad, "gain": self.gain, "zero_loss_fwhm_ev": self.width_ev}
        return {"units": "counts", "long_name": "counts of each channel of energy loss", "signal_type": "EELS", **known}


DETECTOR_KINDS.add("eels", EELSDetector, "spectrum")


@DETECTORS.register("eels", "spectrum")
def _eels(alpha: float, largest: float) -> EELSDetector:  # noqa: ARG001 - one signature for all detectors
    return EELSDetector(energy_range_ev=USUAL_RANGE_EV, dispersion_ev=USUAL_DISPERSION_EV, collection_mrad=USUAL_COLLECTION * alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class EDXDetector(_Binned):
    """An energy-dispersive X-ray spectrometer with a silicon drift detector.

    Parameters
    ----------
    energy_range_ev : tuple of float
        Range from the middle of the first channel to the middle of the channel that would follow the last one, eV.
    dispersion_ev : float
        Width of a channel, eV.
    solid_angle_sr : float
        Solid angle, sr; usual values are 0.1 to 1 sr ([M]: a literature value given from memory).
    take_off_deg : float
        Angle between the plane of the specimen and the direction of the detector, degrees.
    resolution_ev : float
        Full width at half maximum of a line at the energy of Mn K alpha, eV.
    absorption : bool
        Whether the specimen absorbs X-rays.
    bremsstrahlung : bool
        Whether the spectrum includes the bremsstrahlung background.
    dead_layer_angstrom, active_um : float
        Thickness of the dead silicon layer in front of the active volume (A) and thickness of the active silicon, um.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    dimension: ClassVar[str] = "photon_energy_ev"
    quantity: ClassVar[str] = "photon energy"
    expected_by: ClassVar[str] = "stemtwin.twin.instrument.spectra.expected_edx"
    gain: ClassVar[float] = 1.0
    read_noise: ClassVar[float] = 0.0
    energy_range_ev: tuple[float, float] = (0.0, 20480.0)
    dispersion_ev: float = 10.0
    solid_angle_sr: float = 0.7
    take_off_deg: float = 22.0
    resolution_ev: float = 130.0
    absorption: bool = True
    bremsstrahlung: bool = True
    dead_layer_angstrom: float = 300.0
    active_um: float = 450.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        self._check_axis(0.0, 1e5)
        limits = {
            "solid_angle_sr": ("sr", {"above": 0, "high": 4 * math.pi}),
            "take_off_deg": ("degrees", {"above": 0, "high": 90}),
            "resolution_ev": ("eV", {"low": 121, "high": 500}),
            "dead_layer_angstrom": ("A", {"low": 0, "high": 1e5}),
            "active_um": ("um", {"above": 0, "high": 1e4}),
        }
        for name, (unit, limit) in limits.items():
            object.__setattr__(self, name, checks.number(name, getattr(self, name), unit, **limit))
        for name in ("absorption", "bremsstrahlung"):
            object.__setattr__(self, name, checks.flag(name, getattr(self, name)))

    @property
    def name(self) -> str:
        """Name of the spectrum in a result."""
        return "edx"

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of counted spectra, with units and the metadata that other programs read."""
        known = {"resolution_mnka_ev": self.resolution_ev, "elevation_deg": self.take_off_deg, "azimuth_deg": 0.0}
        known["solid_angle_sr"] = self.solid_angle_sr
        return {"units": "counts", "long_name": "photons counted in each channel", "signal_type": "EDS_TEM", **known}


DETECTOR_KINDS.add("edx", EDXDetector, "spectrum")


@DETECTORS.register("edx", "spectrum")
def _edx(alpha: float, largest: float) -> EDXDetector:  # noqa: ARG001 - one signature for all detectors
    return EDXDetector()


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    """A sphere with a dipole plasmon. A beam that passes outside the sphere excites the plasmon too.

    Parameters
    ----------
    centre_angstrom : tuple of float
        Centre (x, y), A.
    radius_angstrom : float
        Radius, A.
    material : str
        Name of the material.

    Raises
    ------
    SettingsError
        A number is out of range.
    UnknownNameError
        The material is unknown.
    """

    centre_angstrom: tuple[float, float]
    radius_angstrom: float
    material: str

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "centre_angstrom", checks.pair("centre_angstrom", self.centre_angstrom, "A"))
        object.__setattr__(
            self, "radius_angstrom", checks.number("radius_angstrom", self.radius_angstrom, "A", above=0, high=1e4, repair="Did you pass nm?")
        )
        dielectric.material(self.material)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossModel:
    """Model of the specimen's energy losses.

    Parameters
    ----------
    materials : tuple of (tuple of str, str or Material)
        Low-loss material of each set of elements, such as ``((("Au",), "gold"), (("C",), "amorphous-carbon"))``.
        Elements that are not listed have the materials of the built-in table. If the table lacks a material for any of
        the unlisted elements, all unlisted elements are modelled together as free valence electrons.
    valences : tuple of (str, float)
        Valence of each element whose white lines depend on the valence, such as ``(("Fe", 2.0),)``.
    background_exponent : float, optional
        Exponent r of a background proportional to E^-r; None: the background is the tail of the dielectric model.
    surfaces : bool
        Whether the two surfaces of a material add surface losses and reduce bulk losses, as for a slab. Materials of
        particles do not have slab surfaces.
    particles : tuple of Particle, or "auto"
        Particles with plasmons; ``"auto"`` finds compact islands of one material in the sample.
    flake : FlakeModes, optional
        Edge plasmons of a flake.

    Raises
    ------
    SettingsError
        A name is not an element, or a setting is outside its limits.
    """

    materials: tuple[tuple[tuple[str, ...], str | Material], ...] = ()
    valences: tuple[tuple[str, float], ...] = ()
    background_exponent: float | None = None
    surfaces: bool = True
    particles: tuple[Particle, ...] | Literal["auto"] = ()
    flake: FlakeModes | None = field(default=None)

    def __post_init__(self) -> None:
        """Check the names."""
        named = [symbol for symbols, _ in self.materials for symbol in symbols]
        wrong = [symbol for symbol in [*named, *(symbol for symbol, _ in self.valences)] if symbol not in NUMBERS]
        if wrong or len(set(named)) < len(named):
            message = f"materials={self.materials} and valences={self.valences} must name elements, each at most once"
            message += f"; {wrong} are not elements." if wrong else "."
            raise SettingsError(message)
        if isinstance(self.particles, str) and self.particles != "auto":
            message = f"particles={self.particles!r} is unknown. Use 'auto' or a tuple of Particle."
            raise SettingsError(message)
