"""Measurement of aberrations by a fit to simulated images: C1A1 (defocus and twofold astigmatism) and Zemlin tableaus.

As for real probe correctors, a film of gold clusters on carbon beside the specimen is imaged overfocused, underfocused
and in focus, along the axis (C1A1) and along tilted beams (tableau). Every image is computed by wave optics with the
true aberrations about the tilted beam, and its electron counts are drawn at random. The fit uses only these counts, so
the noise, the range and the failures of a measurement are realistic. The method follows Haider, Uhlemann, Zach,
Ultramicroscopy 81 (2000) 163.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError, SettingsError
from stemtwin.twin.instrument.hardware.corrector import KRIVANEK
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import coherence, noise, phase_diversity, zemlin
from stemtwin.twin.physics.aberrations import HAIDER, Aberrations
from stemtwin.twin.progress import Progress
from stemtwin.twin.registry import Registry

if TYPE_CHECKING:
    import xarray as xr

LARGEST_TILT_MRAD = 60.0
LARGEST_MISFIT = 4.0
"""Largest chi-square per degree of freedom of a valid fit to images; values above 1 widen the intervals."""
QUANTILE_95 = 1.959964
"""Half width of the 95 % interval of a Gaussian, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeImages:
    """Settings of the images from which aberrations are measured: dark-field images of heavy clusters on a carbon film.

    Parameters
    ----------
    size : int
        Number of points along each side.
    sampling_angstrom : float
        Distance between points, A.
    semiangle_mrad : float
        Convergence semi-angle of the aperture for the measurement, mrad.
    defocus_angstrom : float
        Size of overfocus and underfocus, A.
    current_pa, dwell_time_us : float
        Probe current (pA) and dwell time, us.
    background, cluster_angstrom2 : float
        Fraction of the beam that the carbon scatters onto the dark-field detector, and cross-section of one cluster,
        A^2.
    density_per_angstrom2, cluster_sigma_angstrom : float
        Number of clusters per A^2, and standard deviation of a cluster's projected density, A. The film repeats with
        the field of view.
    jitter_angstrom : float
        Standard deviation along x and y of each image's residual shift, A.
    tolerance : float
        Largest relative deviation of a probe's diameter from its target.
    overhead_s : float
        Time for each image in addition to its scan, s.
    source : str
        Sources of the numbers, with the marks [V] for read in the source and [A] for assumed.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    size: int = 128
    sampling_angstrom: float = 2.4
    semiangle_mrad: float = 8.0
    defocus_angstrom: float = 3000.0
    current_pa: float = 200.0
    dwell_time_us: float = 20.0
    background: float = 0.01
    cluster_angstrom2: float = 1.0
    density_per_angstrom2: float = 0.003
    cluster_sigma_angstrom: float = 2.4
    jitter_angstrom: float = 3.0
    tolerance: float = 0.25
    overhead_s: float = 0.1
    source: str = (
        "target diameter of 20 points, and failure if the diameter deviates by more than a quarter: a message of a Spectra 300's corrector "
        "in asyncroscopy's notebooks [V]; "
        "clusters about 1 nm in diameter, of 30 atoms with a cross-section of 0.03 A^2 each [A]; focus, aperture, current and dwell time "
        "for 95 % intervals of the usual widths, +-1 to 2 nm for C10 and C12, +-10 to 30 nm for C21 and C23, +-0.3 to 1 um for C30 [A]"
    )

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "size", checks.whole("size", self.size, low=32, high=1024))
        for name, unit, high in (
            ("sampling_angstrom", "A", 100), ("semiangle_mrad", "mrad", 50), ("defocus_angstrom", "A", 1e5), ("current_pa", "pA", 1e4),
            ("dwell_time_us", "us", 1e4), ("cluster_angstrom2", "A^2", 1e3), ("density_per_angstrom2", "1/A^2", 0.1),
            ("cluster_sigma_angstrom", "A", 100), ("tolerance", "(a fraction)", 1),
        ):  # fmt: skip
            checks.number(name, getattr(self, name), unit, above=0, high=high)
        for name, unit, high in (("background", "(a fraction)", 1), ("jitter_angstrom", "A", 100), ("overhead_s", "s", 1e3)):
            checks.number(name, getattr(self, name), unit, low=0, high=high)
        if self.cluster_sigma_angstrom < 0.9 * self.sampling_angstrom:
            message = (
                f"cluster_sigma_angstrom={self.cluster_sigma_angstrom:g} A is too small for a sampling of {self.sampling_angstrom:g} A, "
                f"which does not resolve the film. Use sampling_angstrom <= {self.cluster_sigma_angstrom / 0.9:.3g}."
            )
            raise SettingsError(message)

    @property
    def diameter_px(self) -> float:
        """Target diameter of the defocused probe, in points of the image."""
        return 2e-3 * self.semiangle_mrad * self.defocus_angstrom / self.sampling_angstrom

    @property
    def foci_angstrom(self) -> tuple[float, float, float]:
        """Offsets of C10 of the three images, A."""
        return self.defocus_angstrom, -self.defocus_angstrom, 0.0

    @property
    def duration_s(self) -> float:
        """Time for the images of one tilt, s."""
        return 3 * (self.size**2 * self.dwell_time_us * 1e-6 + self.overhead_s)

    @property
    def dose_e_per_angstrom2(self) -> float:
        """Dose on the film for the images of one tilt, e-/A^2."""
        return 3 * noise.electrons_per_point(self.current_pa, self.dwell_time_us * 1e-6) / self.sampling_angstrom**2

    def optics(self, wavelength: float) -> phase_diversity.FilmOptics:
        """Return the optics of the images for a wavelength, A, with the semi-angle in rad."""
        return phase_diversity.FilmOptics(
            wavelength=wavelength, semiangle=self.semiangle_mrad * 1e-3, size=self.size, sampling=self.sampling_angstrom
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tableau:
    """Tilts of a tableau, and the order of the fitted aberrations.

    Parameters
    ----------
    name : str
        Name in the registry.
    angle_mrad : float
        Tilt of the outermost ring, mrad.
    rings : tuple
        Pairs (fraction of the outermost tilt, number of azimuths), one for each ring. The untilted beam precedes the
        first ring.
    order : int
        Highest order of the fitted aberrations.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    name: str
    angle_mrad: float
    rings: tuple[tuple[float, int], ...]
    order: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        checks.number("angle_mrad", self.angle_mrad, "mrad", low=0, high=LARGEST_TILT_MRAD, repair="Did you pass rad?")
        object.__setattr__(self, "order", checks.whole("order", self.order, low=1, high=5))
        for fraction, count in self.rings:
            checks.number("fraction of a ring", fraction, "(of the outermost tilt)", above=0, high=1)
            checks.whole("azimuths of a ring", count, low=1, high=96)

    def tilts_mrad(self) -> np.ndarray:
        """Return the tilts (ty, tx), mrad, shape (n, 2). Every second ring is rotated by half of its azimuthal step."""
        tilts = [(0.0, 0.0)]
        for i, (fraction, count) in enumerate(self.rings):
            for j in range(count):
                phi = 2 * math.pi * (j + 0.5 * (i % 2)) / count
                tilts.append((self.angle_mrad * fraction * math.sin(phi), self.angle_mrad * fraction * math.cos(phi)))
        return np.array(tilts)


C1A1 = Tableau(name="C1A1", angle_mrad=0.0, rings=(), order=1)
"""Measurement of defocus and twofold astigmatism with the untilted beam."""
TABLEAUS: Registry[Tableau] = Registry("tableau")
"""Tableaus by name. Angles and orders are those of de-twin's corrector (column/ceos.py [V]); the rings are assumptions [A]."""
TABLEAUS.add("Fast", Tableau(name="Fast", angle_mrad=9.0, rings=((1.0, 8),), order=2))
TABLEAUS.add("Standard", Tableau(name="Standard", angle_mrad=18.0, rings=((0.5, 6), (1.0, 12)), order=4))
TABLEAUS.add("Enhanced", Tableau(name="Enhanced", angle_mrad=34.0, rings=((0.34, 6), (0.68, 12), (1.0, 18)), order=5))


def tableau(name: str, *, angle_mrad: float | None = None, max_fit: str | None = None) -> Tableau:
    """Return a tableau by name, optionally with another outermost tilt or another highest aberration of the fit.

    Parameters
    ----------
    name : str
        Name in upper or lower case: Fast, Standard or Enhanced.
    angle_mrad : float, optional
        Tilt of the outermost ring, mrad.
    max_fit : str, optional
        Haider's or Krivanek's name of the highest aberration; all aberrations up to its order are fitted.

    Raises
    ------
    UnknownNameError
        The tableau is unknown.
    SettingsError
        A number is out of range, ``max_fit`` is not an aberration, or the tilts do not determine all fitted aberrations.
    """
    out = TABLEAUS[str(name).capitalize()]
    if angle_mrad is not None:
        out = replace(out, angle_mrad=checks.number("angle_mrad", angle_mrad, "mrad", above=0, high=LARGEST_TILT_MRAD, repair="Did you pass rad?"))
    if max_fit is not None:
        highest = (HAIDER[max_fit][0] if max_fit in HAIDER else max_fit) if isinstance(max_fit, str) else ""
        if highest not in KRIVANEK:
            message = f"max_fit={max_fit!r} is not an aberration. Use one of {', '.join(HAIDER)}."
            raise SettingsError(message)
        out = replace(out, order=int(highest[1]))
        identity = np.broadcast_to(np.eye(3), (len(out.tilts_mrad()), 3, 3))
        zemlin.solve(np.zeros((len(identity), 3)), identity, out.tilts_mrad() * 1e-3, order=out.order)  # raises where tilts do not suffice
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """Result of a measurement: estimated aberrations and the images from which they were fitted, without hidden truth.

    Parameters
    ----------
    name : str
        Name of the tableau, or C1A1.
    aberrations : Aberrations
        Measured aberrations, A and rad; coefficients that were not fitted are zero.
    confidence : dict
        Half width of the 95 % interval of each fitted Cartesian coefficient, A.
    misfit : float
        Chi-square per degree of freedom of the fit of the aberrations to all tilts, or 1 for C1A1, whose fit has no
        degrees of freedom. Values above 1 widen the intervals.
    tilts_mrad : ndarray
        Tilts (ty, tx), mrad, shape (n, 2).
    first_order, first_order_error : ndarray
        C10, C12a, C12b of the beam at each tilt and their standard deviations, A, shape (n, 3).
    foci_angstrom : tuple of float
        Offset of C10 in each image, A.
    images : ndarray
        Counted electrons, uint16, shape (n, 3, size, size).
    probes : ndarray
        Overfocused and underfocused probe at each tilt, deconvolved from the images, float32, shape (n, 2, width,
        width).
    sampling_angstrom : float
        Distance between points, A.
    duration_s, dose_e_per_angstrom2 : float
        Duration (s) and dose on the film, e-/A^2.
    """

    name: str
    aberrations: Aberrations
    confidence: dict[str, float]
    misfit: float
    tilts_mrad: np.ndarray
    first_order: np.ndarray
    first_order_error: np.ndarray
    foci_angstrom: tuple[float, ...]
    images: np.ndarray
    probes: np.ndarray
    sampling_angstrom: float
    duration_s: float
    dose_e_per_angstrom2: float

    def dataset(self) -> "xr.Dataset":
        """Return the result as a Dataset for netCDF and zarr, with Cartesian coefficients in Krivanek's notation."""
        import xarray as xr

        names = list(self.confidence)
        values = self.aberrations.cartesian()
        step = self.sampling_angstrom
        axes = [step * np.arange(size) for size in self.images.shape[-2:]]
        probe = [step * (np.arange(size) - size // 2) for size in self.probes.shape[-2:]]
        return xr.Dataset(
            {
                "image": (("tilt", "focus", "y", "x"), self.images, {"units": "electrons"}),
                "probe": (("tilt", "side", "probe_y", "probe_x"), self.probes, {"units": "1"}),
                "first_order": (("tilt", "component"), self.first_order, {"units": "angstrom"}),
                "first_order_error": (("tilt", "component"), self.first_order_error, {"units": "angstrom"}),
                "coefficient": (("name",), np.array([values[name] for name in names]), {"units": "angstrom"}),
                "confidence": (("name",), np.array(list(self.confidence.values())), {"units": "angstrom"}),
            },
            {
                "tilt_y": ("tilt", self.tilts_mrad[:, 0], {"units": "mrad"}),
                "tilt_x": ("tilt", self.tilts_mrad[:, 1], {"units": "mrad"}),
                "focus": ("focus", np.array(self.foci_angstrom), {"units": "angstrom"}),
                "side": ("side", ["overfocus", "underfocus"]),
                "component": ("component", ["C10", "C12a", "C12b"]),
                "name": ("name", names),
                "y": ("y", axes[0], {"units": "angstrom"}),
                "x": ("x", axes[1], {"units": "angstrom"}),
                "probe_y": ("probe_y", probe[0], {"units": "angstrom"}),
                "probe_x": ("probe_x", probe[1], {"units": "angstrom"}),
            },
            {
                "title": f"tableau {self.name}" if self.name != "C1A1" else "C1A1",
                "misfit": self.misfit,
                "duration_s": self.duration_s,
                "dose_e_per_angstrom2": self.dose_e_per_angstrom2,
            },
        )


def duration_s(kind: Tableau, setting: ProbeImages) -> float:
    """Return the duration of a measurement, s. A failed measurement takes as long as a successful one."""
    return len(kind.tilts_mrad()) * setting.duration_s


def measure(
    aberrations: Aberrations,
    wavelength: float,
    kind: Tableau,
    setting: ProbeImages,
    rng: np.random.Generator,
    *,
    source_size_angstrom: float = 0.0,
    progress: Progress | None = None,
) -> Measurement:
    """Simulate the images of a tableau and fit the aberrations to them.

    Parameters
    ----------
    aberrations : Aberrations
        True aberrations, A and rad.
    wavelength : float
        Wavelength, A.
    kind : Tableau
        ``C1A1``, or a value of :func:`tableau`.
    setting : ProbeImages
        Settings of the images.
    rng : numpy.random.Generator
        Source of the random film, of the shifts of the images and of the electron counts.
    source_size_angstrom : float
        Standard deviation of the source's image, A.
    progress : callable, optional
        Function that is called with 1 after each tilt.

    Returns
    -------
    Measurement
        Fitted aberrations with their confidence intervals, and the images.

    Raises
    ------
    InstrumentError
        A measured probe diameter is too far from the target diameter, or no probe fits the images.
    """
    geometry, tilts = setting.optics(wavelength), kind.tilts_mrad()
    film = phase_diversity.clusters(geometry, setting.density_per_angstrom2, setting.cluster_sigma_angstrom, rng)
    film = film * coherence.source_factor(source_size_angstrom, *geometry.frequencies())
    results = []
    for tilt in tilts:
        counts = _take(geometry, film, zemlin.recentred(aberrations, (tilt[0] * 1e-3, tilt[1] * 1e-3)), setting, rng)
        fit = phase_diversity.fit_first_order(counts, setting.foci_angstrom, geometry)
        _refuse_failure(fit, tilt, setting)
        probes = phase_diversity.deconvolved(counts, geometry, fit.shifts, width=min(48, setting.size))
        results.append(_TiltResult(counts=counts, probes=probes, fit=fit))
        if progress is not None:
            progress(1)
    return _solved(kind, setting, geometry, results)


class _TiltResult(NamedTuple):
    """Images along one beam (3, size, size), their two probes, and the first-order fit to them."""

    counts: np.ndarray
    probes: np.ndarray
    fit: phase_diversity.FirstOrder


def _solved(
    kind: Tableau,
    setting: ProbeImages,
    geometry: phase_diversity.FilmOptics,
    results: list[_TiltResult],
) -> Measurement:
    """Return the measurement from the results of all tilts."""
    tilts = kind.tilts_mrad()
    values = np.stack([result.fit.values for result in results])
    covariances = np.stack([result.fit.covariance * max(1.0, result.fit.misfit) for result in results])
    solution = zemlin.solve(values, covariances, tilts * 1e-3, order=kind.order, semiangle=geometry.semiangle)
    errors = np.sqrt(np.diag(solution.covariance))
    return Measurement(
        name=kind.name,
        aberrations=solution.aberrations(),
        confidence=dict(zip(solution.names, (QUANTILE_95 * errors).tolist(), strict=True)),
        misfit=solution.misfit,
        tilts_mrad=tilts,
        first_order=values,
        first_order_error=np.sqrt(np.diagonal(covariances, axis1=1, axis2=2)),
        foci_angstrom=setting.foci_angstrom,
        images=np.stack([result.counts for result in results]),
        probes=np.stack([result.probes for result in results]),
        sampling_angstrom=setting.sampling_angstrom,
        duration_s=duration_s(kind, setting),
        dose_e_per_angstrom2=len(tilts) * setting.dose_e_per_angstrom2,
    )


def _take(geometry: phase_diversity.FilmOptics, film: np.ndarray, local: Aberrations, setting: ProbeImages, rng: np.random.Generator) -> np.ndarray:
    """Return the counts of the three images along one beam, uint16."""
    transfers = [phase_diversity.transfer(geometry, optics.add(local, Aberrations(C10=focus))) for focus in setting.foci_angstrom]
    density = phase_diversity.images(geometry, film, transfers, rng.normal(0, setting.jitter_angstrom, (len(transfers), 2)))
    incident = noise.electrons_per_point(setting.current_pa, setting.dwell_time_us * 1e-6)
    signal = np.minimum(setting.background + setting.cluster_angstrom2 * density, 1)
    return np.minimum(noise.count_electrons(signal, incident, rng), 65535).astype(np.uint16)


def _refuse_failure(fitted: phase_diversity.FirstOrder, tilt: np.ndarray, setting: ProbeImages) -> None:
    """Raise InstrumentError under the conditions in which a real corrector fails."""
    where = "" if not tilt.any() else f" at tilt ({tilt[0]:.1f}, {tilt[1]:.1f}) mrad"
    target, (c10, c12a, c12b), limit = setting.diameter_px, fitted.values, setting.tolerance * setting.defocus_angstrom
    error = float(np.sqrt(np.diag(fitted.covariance)).max())
    if fitted.misfit > LARGEST_MISFIT or error > limit / 3:
        message = (
            f"No probe fits the images{where}: chi-square per degree of freedom {fitted.misfit:.2f} (at most {LARGEST_MISFIT:g}), "
            f"uncertainty of C10 and C12 {error:.0f} A (at most {limit / 3:.0f}). Correct large aberrations first, or use more electrons."
        )
        raise InstrumentError(message)
    advice = f"C10 and C12 must be at most {limit:.0f} A in magnitude: correct them first, or raise defocus_angstrom."
    measured = target * (1 + abs(c10) / setting.defocus_angstrom)  # the larger one of the two probes
    if abs(c10) > limit:
        message = (
            f"The measured probe diameter is out of range{where}: {measured:.1f} px, too far from {target:.1f} px, "
            f"the diameter for C10 = C12 = 0. {advice}"
        )
        raise InstrumentError(message)
    astigmatism = math.hypot(c12a, c12b) / setting.defocus_angstrom
    if astigmatism * setting.defocus_angstrom > limit:
        axes = f"{target * (1 + astigmatism):.1f} and {target * abs(1 - astigmatism):.1f} px"
        message = (
            f"The measured diameters of an elliptical probe are out of range{where}: {axes}, too far from {target:.1f} px, "
            f"the diameter for C10 = C12 = 0. {advice}"
        )
        raise InstrumentError(message)
