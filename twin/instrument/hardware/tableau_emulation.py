"""Emulated measurements of aberrations, C1A1 and tableaus, which are drawn at random without simulating images.

For each tilt, the defocus and the two components of astigmatism are drawn around their true values. Their covariance is
that of a fit to images of an unknown film with unknown shifts, and follows from the Fisher information. The measurement
fails under the same conditions as the measurement of a real corrector. The aberrations follow from the drawn numbers by
the same least squares as in :func:`tableau.measure`; that function takes a thousand times as long. Tests compare
errors, intervals and failures of both functions.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.hardware.tableau import LARGEST_MISFIT, QUANTILE_95, ProbeImages, Tableau
from stemtwin.twin.physics import coherence, noise, phase_diversity, zemlin
from stemtwin.twin.physics.aberrations import Aberrations, vector

GRID = np.array([-1.2, -0.6, 0.0, 0.6, 1.2])
"""Defoci of the table of covariances, in units of the largest permitted defocus; its astigmatisms are the values >= 0."""
BLIND = 1.6
"""Largest defocus that a fit can determine, in units of the defocus of the images."""
SPREAD_OF_WEIGHTS = 1.25
"""Mean square of the weights of a film's clusters, divided by the square of their mean."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """Result of an emulated measurement.

    Parameters
    ----------
    aberrations : Aberrations
        Measured aberrations, A and rad; coefficients that were not fitted are zero.
    confidence : dict
        Half width of the 95 % interval of each fitted Cartesian coefficient, A.
    misfit : float
        Chi-square per degree of freedom of the fit to all tilts.
    """

    aberrations: Aberrations
    confidence: dict[str, float]
    misfit: float


def emulate(
    aberrations: Aberrations, wavelength: float, kind: Tableau, setting: ProbeImages, rng: np.random.Generator, *, source_size_angstrom: float = 0.0
) -> Estimate | InstrumentError:
    """Draw the result of an aberration measurement without simulating its images.

    Parameters
    ----------
    aberrations : Aberrations
        True aberrations, A and rad.
    wavelength : float
        Wavelength, A.
    kind : Tableau
        ``C1A1`` or a tableau.
    setting : ProbeImages
        Settings of the images.
    rng : numpy.random.Generator
        The only source of randomness.
    source_size_angstrom : float
        Standard deviation of the source's image, A.

    Returns
    -------
    Estimate or InstrumentError
        Result, or the error of a failed measurement.
    """
    geometry, tilts = setting.optics(wavelength), kind.tilts_mrad()
    true = zemlin.induced(tilts * 1e-3, geometry.semiangle) @ vector(aberrations)
    covariances = np.stack([_covariance(local, wavelength, setting, source_size_angstrom) for local in true])
    drawn = rng.standard_normal((len(tilts), 3))
    measured = true + np.einsum("nij,nj->ni", np.linalg.cholesky(covariances), drawn)
    failure = _failure(true, measured, covariances, setting)
    if failure is not None:
        return failure
    solution = zemlin.solve(measured, covariances, tilts * 1e-3, order=kind.order, semiangle=geometry.semiangle)
    errors = QUANTILE_95 * np.sqrt(np.diag(solution.covariance))
    confidence = dict(zip(solution.names, errors.tolist(), strict=True))
    return Estimate(aberrations=solution.aberrations(), confidence=confidence, misfit=solution.misfit)


def _failure(true: np.ndarray, measured: np.ndarray, covariances: np.ndarray, setting: ProbeImages) -> InstrumentError | None:
    """Return the error of a measurement that fails at one of the tilts, or None."""
    limit, astigmatism = setting.tolerance * setting.defocus_angstrom, np.hypot(measured[:, 1], measured[:, 2])
    error = math.sqrt(np.diagonal(covariances, axis1=1, axis2=2).max())
    if np.abs(true[:, 0]).max() > BLIND * setting.defocus_angstrom or error > limit / 3:
        message = (
            f"No probe fits the images: chi-square per degree of freedom exceeds {LARGEST_MISFIT:g}, or the uncertainty of C10 and C12, "
            f"{error:.0f} A, exceeds {limit / 3:.0f} A. Correct large aberrations first, or use more electrons."
        )
        return InstrumentError(message)
    if np.abs(measured[:, 0]).max() > limit or astigmatism.max() > limit:
        return InstrumentError(f"The measured probe is out of range: C10 and C12 must lie within {limit:.0f} A. Correct them first.")
    return None


def _covariance(local: np.ndarray, wavelength: float, setting: ProbeImages, source_size: float) -> np.ndarray:
    """Return the covariance of C10, C12a, C12b (A^2) at a tilt with given values, interpolated in the table."""
    table, limit = _table(wavelength, setting, source_size), setting.tolerance * setting.defocus_angstrom
    upper = GRID[GRID >= 0]
    c10 = np.clip(local[0] / limit, GRID[0], GRID[-1])
    c12, angle = min(math.hypot(local[1], local[2]) / limit, upper[-1]), math.atan2(local[2], local[1])
    row, column = (min(int(np.searchsorted(axis, value, side="right")) - 1, len(axis) - 2) for axis, value in ((GRID, c10), (upper, c12)))
    s, t = (c10 - GRID[row]) / (GRID[row + 1] - GRID[row]), (c12 - upper[column]) / (upper[column + 1] - upper[column])
    near = table[row : row + 2, column : column + 2]
    mean = (1 - s) * ((1 - t) * near[0, 0] + t * near[0, 1]) + s * ((1 - t) * near[1, 0] + t * near[1, 1])
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return turn @ mean @ turn.T


@functools.lru_cache(maxsize=16)
def _table(wavelength: float, setting: ProbeImages, source_size: float) -> np.ndarray:
    """Return the covariances at the grid's defoci and its astigmatisms along the axes, A^2, shape (5, 3, 3, 3)."""
    geometry, limit = setting.optics(wavelength), setting.tolerance * setting.defocus_angstrom
    qy, qx = geometry.frequencies()
    incident = noise.electrons_per_point(setting.current_pa, setting.dwell_time_us * 1e-6)
    clusters = setting.density_per_angstrom2 * (geometry.size * geometry.sampling) ** 2
    amplitude = coherence.source_factor(setting.cluster_sigma_angstrom, qy, qx) * coherence.source_factor(source_size, qy, qx)
    power = SPREAD_OF_WEIGHTS * clusters * (incident * setting.cluster_angstrom2 / setting.sampling_angstrom**2 * amplitude) ** 2
    noise_power = setting.size**2 * incident * (setting.background + setting.cluster_angstrom2 * setting.density_per_angstrom2)
    contrast = power / noise_power
    out = np.empty((len(GRID), int((GRID >= 0).sum()), 3, 3))
    for i, c10 in enumerate(GRID):
        for j, c12 in enumerate(GRID[GRID >= 0]):
            out[i, j] = phase_diversity.first_order_covariance(geometry, setting.foci_angstrom, contrast, (limit * c10, limit * c12, 0.0))
    out.setflags(write=False)
    return out
