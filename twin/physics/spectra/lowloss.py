r"""Low loss: mean free paths, single scattering, surface losses and plural scattering.

.. math::

    J(E) = \mathrm{ZLP} * \Big[\delta(E) + \sum_{n \ge 1} \frac{\tau^n}{n!} S^{*n}(E)\Big] e^{-\tau}
         = \mathcal F^{-1}\big[\hat Z \, e^{\tau (\hat S - 1)}\big], \qquad \tau = t / \lambda

J is the spectrum, and S the distribution of single losses. tau S is a sum over independent kinds of loss: the bulk of
each material, its surfaces, particle plasmons. Therefore ln(I_total / I_0) = tau exactly, and every plural term is
convolved with the zero-loss peak.
"""

import functools
import math
from collections.abc import Mapping

import numpy as np
import scipy.fft

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.spectra import dielectric
from stemtwin.twin.physics.spectra.coreloss import HBAR_C, characteristic_angle, half_velocity_energy, momentum
from stemtwin.twin.physics.spectra.dielectric import Material
from stemtwin.twin.physics.spectra.gos import BOHR

NANOMETRE = 10.0
"""1 nm, A."""
HIGHEST_LOSS = 20e3
"""Upper limit of the losses over which single scattering is normalised, eV."""
ANGLES = 64
"""Gauss-Legendre nodes of the integral over angles of a slab."""
TAIL_START = 4.0
"""Multiple of the mean plasmon energy above which single scattering continues as a power law."""

# ---- mean free paths -----------------------------------------------------------------------------------------------------------------------


def mean_free_path(mass_density: float, beam_energy: float, collection: float | None = None, convergence: float = 0.0) -> float:
    """Return the inelastic mean free path by the formula of K. Iakoubovskii et al., Microsc. Res. Tech. 71 (2008) 626.

    Parameters
    ----------
    mass_density : float
        Mass density, g/cm^3.
    beam_energy : float
        Beam energy, eV.
    collection : float, optional
        Collection semi-angle, rad. By default all scattering angles up to the formula's limit of 20 mrad are included.
    convergence : float
        Convergence semi-angle, rad.

    Returns
    -------
    float
        Mean free path, A.

    Raises
    ------
    SettingsError
        The density is not positive.
    """
    if not mass_density > 0:
        message = f"mass_density={mass_density:g} g/cm^3 must be above 0."
        raise SettingsError(message)
    e0 = beam_energy / 1e3
    factor = (1 + e0 / 1022) / (1 + e0 / 511) ** 2
    inelastic, cut = 5.5 * mass_density**0.3 / (factor * e0), 20.0
    path = 200 * factor * e0 / (11 * mass_density**0.3) / math.log(cut**2 / inelastic**2)
    if collection is not None:
        a, b = (convergence * 1e3) ** 2, (collection * 1e3) ** 2
        near, far = (a + b + 2 * angle**2 + abs(a - b) for angle in (inelastic, cut))
        path *= math.log(cut**2 / inelastic**2) / math.log(near / far * cut**2 / inelastic**2)
    return NANOMETRE * path


# ---- one scattering ------------------------------------------------------------------------------------------------------------------------


def angular_factor(loss: np.ndarray, beam_energy: float, collection: float) -> np.ndarray:
    """Return ln(1 + (beta / theta_E)^2), the angular factor of a dipole loss up to a collection angle; 0 at E <= 0."""
    loss = np.asarray(loss, float)
    theta = characteristic_angle(np.maximum(loss, 1e-9), beam_energy)
    return np.where(loss > 0, np.log1p((collection / theta) ** 2), 0.0)


@functools.lru_cache(maxsize=128)
def _reference(material: Material, beam_energy: float, collection: float, exponent: float | None) -> tuple[float, float, float]:
    """Return the integral of the single-scattering distribution, and energy (eV) and height where its tail starts."""
    loss = np.concatenate([np.linspace(1e-3, 200, 100_001), np.geomspace(200, HIGHEST_LOSS, 20_001)[1:]])
    bare = dielectric.loss_function(material, loss) * angular_factor(loss, beam_energy, collection)
    start = TAIL_START * sum(centre * share for centre, _, share in material.losses) / sum(share for _, _, share in material.losses)
    height = float(np.interp(start, loss, bare))
    if exponent is not None:
        bare = np.where(loss > start, height * (loss / start) ** -exponent, bare)
    return float(np.trapezoid(bare, loss)), start, height


def single_scattering(material: Material, loss: np.ndarray, beam_energy: float, collection: float, *, exponent: float | None = None) -> np.ndarray:
    """Return the single-scattering distribution of bulk losses.

    Parameters
    ----------
    material : Material
        Material in which the beam is scattered.
    loss : ndarray
        Energy loss, eV.
    beam_energy : float
        Beam energy, eV.
    collection : float
        Collection semi-angle, rad.
    exponent : float, optional
        Exponent r > 1 of the background of core edges. Beyond four times the mean plasmon energy, the distribution is then
        proportional to E^-r; it is continuous at this energy. By default, the oscillators' own tail is used, for which r is
        about 3.

    Returns
    -------
    ndarray
        Im(-1/eps) ln(1 + (beta/theta_E)^2), normalised to 1 over all losses, 1/eV.

    Raises
    ------
    SettingsError
        The exponent is not above 1.
    """
    if exponent is not None and not exponent > 1:
        message = f"exponent={exponent:g} must be above 1, else the integral of the background diverges. "
        message += "Typical values are 2 to 5."
        raise SettingsError(message)
    loss = np.asarray(loss, float)
    norm, start, height = _reference(material, float(beam_energy), float(collection), exponent)
    out = dielectric.loss_function(material, loss) * angular_factor(loss, beam_energy, collection)
    if exponent is not None:
        out = np.where(loss > start, height * (np.maximum(loss, start) / start) ** -exponent, out)
    return out / norm


def surface_loss(material: Material, loss: np.ndarray, beam_energy: float, collection: float) -> np.ndarray:
    r"""Return the losses that one surface at normal incidence adds to those of the bulk.

    Parameters
    ----------
    material : Material
        Material on one side of the surface; vacuum is on the other.
    loss : ndarray
        Energy loss, eV.
    beam_energy : float
        Beam energy, eV.
    collection : float
        Collection semi-angle, rad.

    Returns
    -------
    ndarray
        Probability, 1/eV: positive at the surface plasmon, negative at the bulk plasmon, which the surface suppresses
        (begrenzung effect). For free electrons the integral of the positive term is (pi/2) e^2 / (hbar v).

    Notes
    -----
    The probability per solid angle is (1 / (pi^2 a0 m v^2 k0)) theta / (theta^2 + theta_E^2)^2
    Im[4 (-1 / (eps + 1)) + 1 / eps], integrated up to the collection angle (R. H. Ritchie, Phys. Rev. 106 (1957) 874).
    The coupling of two surfaces is neglected: the specimen must be thicker than about v / omega, 20 A.
    """
    loss = np.asarray(loss, float)
    positive = np.maximum(loss, 1e-9)
    inverse = dielectric.inverse_permittivity(material, positive)
    response = (4 * -1 / (1 / inverse + 1) + inverse).imag
    response *= np.sqrt(np.clip(1 - material.gap / positive, 0, 1))
    theta = characteristic_angle(positive, beam_energy)
    angles = math.pi * (np.arctan(collection / theta) / theta - collection / (collection**2 + theta**2))
    scale = 1 / (math.pi**2 * BOHR * 2 * half_velocity_energy(beam_energy) * momentum(beam_energy))
    return np.where(loss > 0, scale * angles * response, 0.0)


def bulk_rate(material: Material, loss: np.ndarray, beam_energy: float, collection: float) -> np.ndarray:
    """Return the bulk losses per path length, Im(-1/eps) ln(1 + (beta/theta_E)^2) / (pi a0 m v^2), 1/(eV A).

    The parameters are those of :func:`surface_loss`.
    """
    scale = math.pi * BOHR * 2 * half_velocity_energy(beam_energy)
    return dielectric.loss_function(material, loss) * angular_factor(loss, beam_energy, collection) / scale


def slab_surfaces(material: Material, loss: np.ndarray, beam_energy: float, collection: float, thickness: float) -> np.ndarray:
    r"""Return the losses that the two coupled surfaces of a slab add to those of its bulk.

    Parameters
    ----------
    material, loss, beam_energy, collection
        As in :func:`surface_loss`.
    thickness : float
        Thickness t, A.

    Returns
    -------
    ndarray
        Probability, 1/eV, which can be negative. For a thick slab, it is twice :func:`surface_loss`. The losses of the
        whole slab are the sum of this probability and the bulk losses, t times :func:`bulk_rate`. The sum is never
        negative. For a thin slab, the sum is proportional to Im eps, as is the absorption of light.

    Notes
    -----
    The probability per solid angle is (2 / (pi^2 a0 m v^2 k0)) theta / (theta^2 + theta_E^2)^2
    Im{(1 - eps)^2 / eps [sin^2 d / (eps + tanh) + cos^2 d / (eps + coth)]}, with d = E t / (2 hbar v) and tanh and coth
    of k0 theta t / 2 (R. H. Ritchie, Phys. Rev. 106 (1957) 874; without retardation).
    """
    loss = np.asarray(loss, float)
    positive = np.maximum(loss, 1e-9)
    theta_e = np.asarray(characteristic_angle(positive, beam_energy))
    eps = 1 / dielectric.inverse_permittivity(material, positive)
    phase = positive * thickness / (2 * electrons.velocity_ratio(beam_energy) * HBAR_C)
    k0 = float(momentum(beam_energy))
    bottom, top = np.log(1e-3 * theta_e), math.log(collection)
    half = np.maximum(top - bottom, 0) / 2
    total = np.zeros(loss.shape)
    for x, w in zip(*np.polynomial.legendre.leggauss(ANGLES), strict=True):
        theta = np.exp(bottom + half * (1 + x))
        coupling = np.tanh(np.maximum(k0 * theta * thickness / 2, 1e-12))
        response = (1 - eps) ** 2 / eps * (np.sin(phase) ** 2 / (eps + coupling) + np.cos(phase) ** 2 / (eps + 1 / coupling))
        total += w * half * 2 * math.pi * theta**3 / (theta**2 + theta_e**2) ** 2 * response.imag
    total *= 2 / (math.pi**2 * BOHR * 2 * half_velocity_energy(beam_energy) * k0) * np.sqrt(np.clip(1 - material.gap / positive, 0, 1))
    return np.where(loss > 0, total, 0.0)


# ---- plural scattering ---------------------------------------------------------------------------------------------------------------------


class LossAxis:
    """Uniform energy grid from 0 for convolutions of losses, padded against periodic wrap-around.

    Parameters
    ----------
    dispersion : float
        Step, eV.
    highest : float
        Highest loss of interest, eV.

    Raises
    ------
    SettingsError
        The padded grid needs more than 2^22 points.
    """

    LARGEST = 1 << 22

    def __init__(self, dispersion: float, highest: float) -> None:
        self.dispersion = dispersion
        self.kept = math.ceil(highest / dispersion) + 1
        self.size: int = scipy.fft.next_fast_len(2 * self.kept, real=True)
        if self.size > self.LARGEST:
            message = f"A loss of {highest:g} eV in steps of {dispersion:g} eV needs {self.size} points, more than {self.LARGEST}. "
            message += "Use a coarser dispersion."
            raise SettingsError(message)
        self.loss = dispersion * np.arange(self.kept)

    def transform(self, density: np.ndarray) -> np.ndarray:
        """Return the Fourier coefficients, shape (..., size // 2 + 1), of a distribution of losses.

        The distribution ``density``, shape (..., kept), has values in 1/eV at the losses ``self.loss``.
        """
        return scipy.fft.rfft(np.asarray(density, float) * self.dispersion, self.size, axis=-1)

    def zero_loss(self, fractions: np.ndarray, first: int) -> np.ndarray:
        """Return the Fourier coefficients of a zero-loss peak, given as the fraction of the beam in each energy bin.

        The index ``first`` of the first bin can be negative.
        """
        ring = np.zeros(self.size)
        np.add.at(ring, (first + np.arange(len(fractions))) % self.size, fractions)
        return scipy.fft.rfft(ring)

    def back(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the fraction of the beam in each energy bin, shape (..., size), from the Fourier coefficients of a spectrum.

        Index i corresponds to the loss i times ``dispersion``. Indices at the end of the array correspond to energy gains.
        """
        return scipy.fft.irfft(coefficients, self.size, axis=-1)


def plural(zero_loss: np.ndarray, losses: np.ndarray, amounts: np.ndarray, totals: np.ndarray | None = None) -> np.ndarray:
    """Return spectra with plural scattering of several kinds of loss.

    Parameters
    ----------
    zero_loss : ndarray
        Fourier coefficients Z (:class:`LossAxis`) of the zero-loss peak, shape (K,).
    losses : ndarray
        Fourier coefficients S_c of each kind of single loss, probabilities per unit amount, shape (kinds, K).
    amounts : ndarray
        Amount a_c of each kind, shape (..., kinds): t / lambda for distributions with the integral 1.
    totals : ndarray, optional
        Total probability T_c of each kind per unit amount, shape (kinds,); by default 1, for normalised distributions.

    Returns
    -------
    ndarray
        Fourier coefficients Z exp(sum_c a_c (S_c - T_c)), shape (..., K). Losses beyond the end of the axis are missing
        from the sum of a spectrum.
    """
    amounts = np.asarray(amounts, float)
    exponent = np.zeros((*amounts.shape[:-1], losses.shape[1]), complex)
    exponent -= (amounts.sum(axis=-1) if totals is None else amounts @ totals)[..., None]
    for amount, loss in zip(np.moveaxis(amounts, -1, 0), losses, strict=True):
        exponent += amount[..., None] * loss
    return zero_loss * np.exp(exponent, out=exponent)


def elastic_survival(densities: Mapping[int, np.ndarray], beam_energy: float, collection: float, parametrization: str = "kirkland") -> np.ndarray:
    """Return the fraction of the beam that elastic scattering leaves inside a collection angle, for thin specimens.

    Parameters
    ----------
    densities : mapping from int to ndarray
        Number of atoms per A^2 for each atomic number.
    beam_energy : float
        Beam energy, eV.
    collection : float
        Collection semi-angle, rad.
    parametrization : str
        Name of the parametrisation of the scattering factors.

    Returns
    -------
    ndarray
        exp(-sum n sigma(> beta)) with cross-sections in the Born approximation.
    """
    total: np.ndarray | float = 0.0
    for number, density in densities.items():
        total = total + np.asarray(density, float) * elastic_cross_section(int(number), float(beam_energy), float(collection), parametrization)
    return np.exp(-np.asarray(total))


@functools.lru_cache(maxsize=512)
def elastic_cross_section(number: int, beam_energy: float, beyond: float, parametrization: str = "kirkland") -> float:
    """Return the cross-section (A^2) of one atom for elastic scattering beyond an angle (rad), in the Born approximation."""
    from stemtwin.twin.physics.scattering_factors import scattering_factor

    wavelength, gamma = electrons.wavelength(beam_energy), electrons.lorentz_factor(beam_energy)
    theta = np.geomspace(max(beyond, 1e-5), math.pi, 4001)
    f = gamma * scattering_factor(parametrization, number, (2 * np.sin(theta / 2) / wavelength) ** 2)
    return float(np.trapezoid(2 * math.pi * np.sin(theta) * f**2, theta))
