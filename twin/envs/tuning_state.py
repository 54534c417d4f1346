"""State of an episode of ``stemtwin/AberrationCorrection-v1``, and its hidden phase error."""

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
    """State of an episode of aberration correction.

    Parameters
    ----------
    session : Session
        The microscope and the record of its use.
    conditions : Conditions
        Conditions of the episode.
    density : float
        Density of clusters on the film, 1/A^2.
    film : ndarray
        Fourier coefficients of the film.
    knobs : ndarray
        Commanded changes of all correctable coefficients since the start, A.
    carbon : int
        Seed of the positions of the carbon atoms.
    image, ronchigram : ndarray
        The last image and the last Ronchigram, uint16.
    estimates, errors : ndarray
        Last measured values and their standard deviations, A.
    times_s : ndarray
        Times at which these values were measured, s; minus infinity before the first measurement.
    taken : str
        The last acquisition: ``"image"``, ``"Ronchigram"``, ``"C1A1"``, ``"Fast"`` or ``"Standard"``.
    failed : bool
        Whether the last acquisition gave no result.
    misfit : float
        Chi-square per degree of freedom of the last result.
    moves : int
        Number of actions so far.
    stopped : bool
        Whether the agent has declared the end of the episode.
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
    """Return the optics of images at the present settings."""
    knobs = session.scope.knobs
    return tuning_film.film_optics(electrons.wavelength(knobs.energy_ev), knobs.semiangle_mrad * 1e-3)


def true_aberrations(session: Session) -> Aberrations:
    """Return the present true aberrations, A and rad."""
    return session.setup.aberrations(session.scope, session.clock_s)


@functools.lru_cache(maxsize=1024)
def _rms(wavelength: float, semiangle: float, found: Aberrations) -> float:
    return phase_error.rms_phase(wavelength, semiangle, found)


def phase_of(session: Session) -> float:
    """Return the present root mean square phase error over the aperture, rad."""
    knobs = session.scope.knobs
    return _rms(electrons.wavelength(knobs.energy_ev), knobs.semiangle_mrad * 1e-3, true_aberrations(session))
