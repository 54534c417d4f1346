"""State of an episode of ``stemtwin/AberrationCorrection-v1``, and the phase error that it hides."""

import functools
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs import tuning_film
from stemtwin.twin.envs.arguments import Conditions
from stemtwin.twin.envs.session import Session
from stemtwin.twin.envs.tuning_presets import IMAGE
from stemtwin.twin.physics import electrons, phase_error
from stemtwin.twin.physics.aberrations import Aberrations


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tuning:
    """State of an episode.

    Parameters
    ----------
    session : Session
        The microscope and what was done with it.
    conditions : Conditions
        Conditions of the episode.
    density : float
        Clusters of the film, 1/A^2.
    film : ndarray
        Its Fourier coefficients.
    knobs : ndarray
        Changes that were commanded since the start, of all coefficients that can be corrected, A.
    carbon : int
        Seed of the carbon's atoms.
    image, ronchigram : ndarray
        The last image and the last Ronchigram, uint16.
    estimates, errors : ndarray
        Last measured values and their standard deviations, A.
    times_s : ndarray
        When they were measured, s; minus infinity where nothing was.
    taken : str
        The last measurement, one of ``MEASUREMENTS``.
    failed : bool
        Whether it gave no result.
    misfit : float
        Chi-square per degree of freedom of the last result.
    moves : int
        Actions so far.
    stopped : bool
        Whether the end was declared.
    """

    session: Session
    conditions: Conditions
    density: float
    film: np.ndarray
    knobs: np.ndarray
    carbon: int
    image: np.ndarray
    ronchigram: np.ndarray
    estimates: np.ndarray
    errors: np.ndarray
    times_s: np.ndarray
    taken: str = IMAGE
    failed: bool = False
    misfit: float = 0.0
    moves: int = 0
    stopped: bool = False

    @property
    def dose(self) -> float:
        """Dose on the film so far, e-/A^2."""
        return self.session.dose_e_per_angstrom2


def geometry(session: Session) -> tuning_film.FilmOptics:
    """Return the optics of an image that is taken now."""
    knobs = session.scope.knobs
    return tuning_film.film_optics(electrons.wavelength(knobs.energy_ev), knobs.semiangle_mrad * 1e-3)


def true_aberrations(session: Session) -> Aberrations:
    """Return the aberrations of now, A and rad."""
    return session.setup.aberrations(session.scope, session.clock_s)


@functools.lru_cache(maxsize=1024)
def _rms(wavelength: float, semiangle: float, found: Aberrations) -> float:
    return phase_error.rms_phase(wavelength, semiangle, found)


def phase_of(session: Session) -> float:
    """Return the root mean square phase error over the aperture, rad."""
    knobs = session.scope.knobs
    return _rms(electrons.wavelength(knobs.energy_ev), knobs.semiangle_mrad * 1e-3, true_aberrations(session))
