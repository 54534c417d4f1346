"""Tuning the optics: measurements on a film beside the specimen, and corrections that do not quite do what they are told."""

from collections.abc import Sequence
from dataclasses import replace

from stemtwin.twin.errors import InstrumentError, SettingsError
from stemtwin.twin.instrument.hardware import corrector, tableau, tableau_emulation
from stemtwin.twin.instrument.hardware.tableau import Measurement, Tableau
from stemtwin.twin.instrument.hardware.tableau_emulation import Estimate
from stemtwin.twin.instrument.scope import beam_damage
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.progress import Progress


def kind(name: str, *, angle_mrad: float | None = None, max_fit: str | None = None) -> Tableau:
    """Return the tableau of a measurement: ``"C1A1"``, or a tableau by its name; see :func:`tableau.tableau`.

    Raises
    ------
    UnknownNameError, SettingsError
        There is no such measurement, or a number is out of range.
    """
    if not isinstance(name, str):
        message = f"kind={name!r} is no measurement. Use 'C1A1', or a tableau: {', '.join(tableau.TABLEAUS)}."
        raise SettingsError(message)
    if name.upper() == tableau.C1A1.name.upper() and angle_mrad is None and max_fit is None:
        return tableau.C1A1
    if name.upper() == tableau.C1A1.name.upper():
        message = f"C1A1 has no tilts: it takes neither angle_mrad nor max_fit. Leave them out, or measure a tableau: {', '.join(tableau.TABLEAUS)}."
        raise SettingsError(message)
    return tableau.tableau(name, angle_mrad=angle_mrad, max_fit=max_fit)


def lit(state: ScopeState) -> None:
    """Refuse to measure without a beam.

    Raises
    ------
    InstrumentError
        The beam is blanked.
    """
    if state.knobs.blanked:
        message = "The beam is blanked, so that there is nothing to measure with. Use set(blanked=False) first."
        raise InstrumentError(message)


def measure(setup: Setup, state: ScopeState, what: Tableau, *, progress: Progress | None = None) -> tuple[Measurement | InstrumentError, ScopeState]:
    """Measure aberrations as they are in the middle of the measurement.

    Returns
    -------
    tuple
        What was found, or the error of a fit that failed; and the state after. A measurement that fails has taken its time all the same.

    Raises
    ------
    InstrumentError
        The beam is blanked: nothing has happened.
    """
    true, wavelength, source, after = _measuring(setup, state, what)
    setting, rng = setup.profile.probe_images, setup.rng("corrector", state.measurements)
    try:
        return tableau.measure(true, wavelength, what, setting, rng, source_size_angstrom=source, progress=progress), after
    except InstrumentError as error:
        return error, after


def emulate(setup: Setup, state: ScopeState, what: Tableau) -> tuple[Estimate | InstrumentError, ScopeState]:
    """Draw the result of :func:`measure` without its images: see ``tableau_emulation``.

    Raises
    ------
    InstrumentError
        The beam is blanked: nothing has happened.
    """
    true, wavelength, source, after = _measuring(setup, state, what)
    setting, rng = setup.profile.probe_images, setup.rng("corrector", state.measurements)
    return tableau_emulation.emulate(true, wavelength, what, setting, rng, source_size_angstrom=source), after


def _measuring(setup: Setup, state: ScopeState, what: Tableau) -> tuple[Aberrations, float, float, ScopeState]:
    """Return the aberrations in the middle of a measurement, wavelength and source size, A, and the state after."""
    lit(state)
    setting, energy = setup.profile.probe_images, state.knobs.energy_ev
    taken = tableau.duration_s(what, setting)
    after = replace(state, time_s=state.time_s + taken, measurements=state.measurements + 1)
    source = setup.profile.source_size_angstrom(setting.current_pa, setting.semiangle_mrad, energy)
    true = setup.aberrations(state, state.time_s + taken / 2)
    return true, electrons.wavelength(energy), source, beam_damage.after_time(setup, after, taken)


def correct(
    setup: Setup,
    state: ScopeState,
    name: str,
    value: complex | Sequence[float],
    target: complex | Sequence[float] = 0.0,
    *,
    conjugate_mixed: bool = False,
) -> ScopeState:
    """Return the state after a correction: see :func:`corrector.request` and :func:`corrector.correct`."""
    profile = setup.profile.corrector
    change = corrector.request(name, value, target, conjugate_mixed=conjugate_mixed)
    true = corrector.correct(change, profile, setup.rng("corrector", state.measurements))
    time = state.time_s + profile.duration_s
    after = replace(state, corrected=optics.add(state.corrected, true), time_s=time, measurements=state.measurements + 1)
    return beam_damage.after_time(setup, after, profile.duration_s)
