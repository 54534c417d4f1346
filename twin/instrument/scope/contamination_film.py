"""Contamination film on the specimen: signals through the film, and the beam shower that suppresses contamination."""

import functools
from dataclasses import replace

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.detectors import Detector, PixelatedDetector
from stemtwin.twin.instrument.scope import beam_damage
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.physics import electrons, overlayer
from stemtwin.twin.physics.dynamics import contamination

SHOWER_SIDE_ANGSTROM = 1e4
"""Side of the square that a shower floods, A. Molecules need time to return to the middle of this square micrometre."""
SHOWER_GRID = 64
"""Number of points along a side of the square in the dose map."""
TOGETHER = 256
"""Number of patterns that are computed through a film together."""
MOST_DOSE = 1e6
"""Largest dose of a shower, e-/A^2."""


def behind_film(height: np.ndarray | None, detectors: tuple[Detector, ...], beam: Beam, signals: np.ndarray) -> np.ndarray:
    """Return the expected signals of a specimen that is covered by a contamination film.

    The signals have the shape (channels, n). The height of the film, A, has the shape (n,).

    Without a film, ``height`` is None and the signals are returned unchanged. See the module ``overlayer``.
    """
    if height is None:
        return signals
    tilt = beam.beam_tilt_mrad[0] * 1e-3, beam.beam_tilt_mrad[1] * 1e-3
    return overlayer.behind_film(signals, height, collected(detectors, beam.energy_ev, beam.semiangle_rad, tilt), beam.energy_ev)


def heights(state: ScopeState, shot: ScanPass) -> np.ndarray | None:
    """Return the height of the contamination film, A, shape (n,), at the true positions of a pass, or None without a film."""
    film = None if state.matter is None else state.matter.film
    found = None if film is None else film.at(shot.points)
    return found if found is not None and found.any() else None


def patterns_behind_film(height: np.ndarray | None, camera: PixelatedDetector, beam: Beam, patterns: np.ndarray) -> np.ndarray:
    """Return a camera's expected patterns of a specimen that is covered by a contamination film.

    The patterns have the shape (n, ny, nx). The height of the film, A, has the shape (n,). The film attenuates the
    patterns and adds the diffuse scattering of carbon. The patterns are changed in place.
    Without a film, ``height`` is None and the patterns stay unchanged.
    """
    if height is None:
        return patterns
    ny, nx = camera.shape_read
    rows, columns = (1e-3 * camera.pixel_mrad * (np.arange(n + 1) - n / 2) for n in (ny, nx))
    tilt = beam.beam_tilt_mrad[0] * 1e-3, beam.beam_tilt_mrad[1] * 1e-3
    pixels = overlayer.collected_pattern(rows, columns, beam.energy_ev, beam.semiangle_rad, tilt)
    flat = patterns.reshape(len(patterns), -1)
    for start in range(0, len(flat), TOGETHER):
        some = slice(start, start + TOGETHER)
        flat[some] = overlayer.behind_film(flat[some].T, height[some], pixels.ravel(), beam.energy_ev).T
    return flat.reshape(patterns.shape)


@functools.lru_cache(maxsize=64)
def collected(detectors: tuple[Detector, ...], energy: float, semiangle: float, tilt: tuple[float, float]) -> np.ndarray:
    """Return the fraction of carbon-scattered electrons that each channel collects, shape (channels,).

    The beam energy is in eV; convergence semi-angle and beam tilt are in rad.
    """
    wavelength = electrons.wavelength(energy)

    def weights(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
        return np.concatenate([detector.weights(ky, kx, pixel, wavelength, antialias=True) for detector in detectors])

    outer = max(detector.outer_mrad for detector in detectors) * 1e-3
    out = overlayer.collected_share(weights, outer, energy, semiangle, tilt)
    out.setflags(write=False)
    return out


def shower_cost(setup: Setup, dose: float) -> dict[str, float]:
    """Return the cost of a beam shower: ``time_s``, ``electrons``, ``dose_e_per_angstrom2``.

    Raises
    ------
    SettingsError
        The dose is out of range.
    """
    dose = checks.number("dose_e_per_angstrom2", dose, "e-/A^2", above=0, high=MOST_DOSE)
    sent = dose * SHOWER_SIDE_ANGSTROM**2
    time = sent / (setup.profile.max_current_pa * electrons.ELECTRONS_PER_PICOAMPERE_SECOND)
    return {"time_s": time, "electrons": sent, "dose_e_per_angstrom2": dose}


def shower(setup: Setup, state: ScopeState, dose: float) -> ScopeState:
    """Return the state after a beam shower, which floods a square micrometre in the middle of the specimen.

    The shower uses the largest current of the instrument.

    Raises
    ------
    SettingsError
        The dose is out of range.
    InstrumentError
        The beam is blanked.
    """
    cost = shower_cost(setup, dose)
    if state.knobs.blanked:
        message = "The beam is blanked, but a shower needs it. Use set(blanked=False)."
        raise InstrumentError(message)
    height, width = state.specimen.size_angstrom
    middle = width / 2, height / 2
    pitch = SHOWER_SIDE_ANGSTROM / SHOWER_GRID
    axis = pitch * (np.arange(SHOWER_GRID) + 0.5) - SHOWER_SIDE_ANGSTROM / 2
    where = np.stack(np.meshgrid(middle[0] + axis, middle[1] + axis), axis=-1).reshape(-1, 2)
    many = np.full(len(where), cost["electrons"] / len(where))
    after = replace(
        state,
        time_s=state.time_s + cost["time_s"],
        beam_s=state.beam_s + cost["time_s"],
        electrons=state.electrons + cost["electrons"],
        dose=state.dose.add(where, many, spacing_angstrom=pitch),
        sent=replace(state.sent, drawn=state.sent.map().add(where, many, spacing_angstrom=pitch), waiting=()),
    )
    after = beam_damage.after_flood(setup, after, middle, cost["time_s"], dose)
    if after.matter is None or after.matter.film is None or setup.damage is None:
        return after
    film = contamination.shower(after.matter.film, dose, setup.damage.contamination)
    return replace(after, matter=replace(after.matter, film=film))
