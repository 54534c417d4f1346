"""Immutable settings of the beam, and of potentials that are given as arrays."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations, blur_radius

LOWEST_ENERGY_EV = 1e3
LEAST_SEMIANGLE_MRAD = 0.1
"""Smallest convergence semi-angle, mrad. A smaller value suggests a parallel beam or an angle in rad."""
LARGEST_TILT_MRAD = 100.0
"""Largest tilt of the beam or the specimen (mrad) for which slices and small-angle approximations are used."""


def _energy(value: object) -> float:
    return checks.number("energy_ev", value, "eV", low=LOWEST_ENERGY_EV, high=3e6, repair="Did you pass keV?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """A convergent electron beam.

    Parameters
    ----------
    energy_ev : float
        Beam energy, eV.
    semiangle_mrad : float
        Convergence semi-angle, mrad.
    aberrations : Aberrations
        Aberration coefficients, A and rad.
    source_size_angstrom : float
        Standard deviation of the source's image on the specimen, A.
    focal_spread_angstrom : float
        Standard deviation of C10, A.
    beam_tilt_mrad : tuple of float
        Direction (x, y) of the beam at the specimen relative to the optic axis, mrad. The order (x, y) is that of
        deflectors and points, whereas ``Request.tilt_mrad`` has the order (ty, tx). The tilt multiplies the wave of the
        probe by exp(2 pi i q.r), where q is the tilt in rad divided by the wavelength. The tilt acts after the lens, so
        aberrations stay centred on the aperture, and the probe keeps its shape and its position on the entrance face.
        Detectors stay on the optic axis, so the pattern moves across them by the tilt.

    Raises
    ------
    SettingsError
        A number is out of range.

    Examples
    --------
    >>> import stemtwin as st
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30, aberrations=st.Aberrations(C10=-20.0))
    >>> round(beam.wavelength_angstrom, 4)
    0.0487
    """

    energy_ev: float
    semiangle_mrad: float
    aberrations: Aberrations = field(default_factory=Aberrations)
    source_size_angstrom: float = 0.0
    focal_spread_angstrom: float = 0.0
    beam_tilt_mrad: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "energy_ev", _energy(self.energy_ev))
        object.__setattr__(
            self,
            "semiangle_mrad",
            checks.number("semiangle_mrad", self.semiangle_mrad, "mrad", low=LEAST_SEMIANGLE_MRAD, high=150, repair="Did you pass rad?"),
        )
        if not isinstance(self.aberrations, Aberrations):
            message = f"aberrations={self.aberrations!r} is not an Aberrations value. Use for example st.Aberrations(C10=-50.0)."
            raise SettingsError(message)
        for name in ("source_size_angstrom", "focal_spread_angstrom"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), "A", low=0, high=1e4))
        object.__setattr__(self, "beam_tilt_mrad", checks.pair("beam_tilt_mrad", self.beam_tilt_mrad, "mrad"))
        if max(map(abs, self.beam_tilt_mrad)) > LARGEST_TILT_MRAD:
            message = f"beam_tilt_mrad={self.beam_tilt_mrad} exceeds the small-angle limit of {LARGEST_TILT_MRAD:g} mrad. Did you pass urad?"
            raise SettingsError(message)

    @property
    def wavelength_angstrom(self) -> float:
        """Relativistic wavelength, A."""
        return electrons.wavelength(self.energy_ev)

    @property
    def semiangle_rad(self) -> float:
        """Convergence semi-angle, rad."""
        return self.semiangle_mrad * 1e-3

    @property
    def tilt_rad(self) -> tuple[float, float]:
        """Tilt of the beam (rad) in the engine's order (ty, tx)."""
        x, y = self.beam_tilt_mrad
        return y * 1e-3, x * 1e-3

    def probe_radius(self, thickness: float) -> float:
        """Return the larger of the geometric probe radii at the entrance face and the exit face of a specimen, A.

        ``thickness`` is the thickness of the specimen, A.
        """
        through = Aberrations.from_cartesian(**{**self.aberrations.cartesian(), "C10": self.aberrations.C10 + thickness})
        return max(blur_radius(self.aberrations, self.semiangle_rad), blur_radius(through, self.semiangle_rad))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneWave:
    """A parallel beam along +z with unit amplitude.

    Parameters
    ----------
    energy_ev : float
        Beam energy, eV.

    Raises
    ------
    SettingsError
        The energy is out of range.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("mos2-1h", size_angstrom=(8, 8))
    >>> wave = st.exit_wave(sample, st.PlaneWave(energy_ev=60e3))
    >>> wave.wave_real.dims
    ('configuration', 'y', 'x')
    """

    energy_ev: float

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "energy_ev", _energy(self.energy_ev))

    @property
    def wavelength_angstrom(self) -> float:
        """Relativistic wavelength, A."""
        return electrons.wavelength(self.energy_ev)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PotentialSlices:
    """Projected potentials, periodic in x and y, that are given in place of a sample.

    Parameters
    ----------
    array : array_like
        Projected potential of each slice, V A, shape (n, ny, nx).
    sampling_angstrom : tuple of float
        Distance (dy, dx) between the points of a slice, A.
    z_angstrom : array_like
        Depth of each slice below the entrance face, A, shape (n,). Depths increase and are not negative.

    Raises
    ------
    SettingsError
        Shapes do not match, numbers are not finite, or the depths do not increase.

    Examples
    --------
    >>> import numpy as np
    >>> import stemtwin as st
    >>> y, x = np.mgrid[:64, :64] * 0.125
    >>> column = 200.0 * np.exp(-((x - 4.0) ** 2 + (y - 4.0) ** 2) / 0.1)
    >>> slices = st.PotentialSlices(array=[column, column], sampling_angstrom=(0.125, 0.125), z_angstrom=[1.0, 3.0])
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> scan = st.RasterScan(shape=(8, 8), field_of_view_angstrom=(8, 8))
    >>> signals = st.simulate(slices, beam, scan, detectors=("haadf",))
    >>> bool(signals.haadf[4, 4] == signals.haadf.max())
    True
    """

    array: np.ndarray
    sampling_angstrom: tuple[float, float]
    z_angstrom: np.ndarray

    def __post_init__(self) -> None:
        """Check the numbers and freeze them."""
        try:
            array, z = np.array(self.array, dtype=np.float32), np.array(self.z_angstrom, dtype=float)
        except (TypeError, ValueError):
            array, z = np.empty(0), np.empty(0)
        if array.ndim != 3 or z.shape != array.shape[:1] or not len(z):
            message = f"A potential of shape {array.shape} does not match {z.size} depths. Give a shape (n, ny, nx) and n depths."
            raise SettingsError(message)
        if not (np.isfinite(array).all() and np.isfinite(z).all()) or (np.diff(z) <= 0).any() or z[0] < 0:
            message = (
                "The potential or its depths are not finite, or the depths do not increase from 0. "
                "Give a finite potential in V A and increasing depths in A."
            )
            raise SettingsError(message)
        array.flags.writeable = z.flags.writeable = False
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "z_angstrom", z)
        object.__setattr__(self, "sampling_angstrom", checks.pair("sampling_angstrom", self.sampling_angstrom, "A", above=0))

    @property
    def digest(self) -> str:
        """Sha256 (hexadecimal) of the potential, the sampling and the depths."""
        hashed = hashlib.sha256(repr((self.array.shape, self.sampling_angstrom)).encode())
        hashed.update(self.array.tobytes())
        hashed.update(self.z_angstrom.tobytes())
        return hashed.hexdigest()

    @property
    def size_angstrom(self) -> tuple[float, float]:
        """Extent of the potential (y, x), A."""
        return self.array.shape[1] * self.sampling_angstrom[0], self.array.shape[2] * self.sampling_angstrom[1]

    @property
    def thickness_angstrom(self) -> float:
        """Depth of the last slice, which is the exit face, A."""
        return float(self.z_angstrom[-1])
