"""Tuning of the optics: measurements of aberrations on a film beside the specimen, and imperfect corrections."""

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
    """Return the tableau of a measurement by name, either ``"C1A1"`` or a name that :func:`tableau.tableau` accepts.

    Raises
    ------
    UnknownNameError, SettingsError
        The measurement is unknown, or a number is out of range.
    """
    if not isinstance(name, str):
        message = f"kind={name!r} is not a measurement. Use 'C1A1', or a tableau: {', '.join(tableau.TABLEAUS)}."
        raise SettingsError(message)
    if name.upper() == tableau.C1A1.name.upper() and angle_mrad is None and max_fit is None:
        return tableau.C1A1
    if name.upper() == tableau.C1A1.name.upper():
        tableaus = ", ".join(tableau.TABLEAUS)
        message = f"C1A1 does not use tilts, so angle_mrad and max_fit do not apply. Leave them out, or measure a tableau: {tableaus}."
        raise SettingsError(message)
    return tableau.tableau(name, angle_mrad=angle_mrad, max_fit=max_fit)


def lit(state: ScopeState) -> None:
    """Raise InstrumentError if the beam is blanked.

    Raises
    ------
    InstrumentError
        The beam is blanked.
    """
    if state.knobs.blanked:
        message = "The beam is blanked, but a measurement needs it. Use set(blanked=False) first."
        raise InstrumentError(message)


def measure(setup: Setup, state: ScopeState, what: Tableau, *, progress: Progress | None = None) -> tuple[Measurement | InstrumentError, ScopeState]:
    """Measure the aberrations that the instrument has halfway through the measurement.

    Returns
    -------
    tuple
        Two values: the result, or the error of a failed fit; and the state afterwards. A failed measurement takes as
        long as a successful one.

    Raises
    ------
    InstrumentError
        The beam is blanked; the state is unchanged.
    """
    true, wavelength, source, after = _measuring(setup, state, what)
    setting, rng = setup.profile.probe_images, setup.rng("corrector", state.measurements)
    try:
        return tableau.measure(true, wavelength, what, setting, rng, source_size_angstrom=source, progress=progress), after
    except InstrumentError as error:
        return error, after


def emulate(setup: Setup, state: ScopeState, what: Tableau) -> tuple[Estimate | InstrumentError, ScopeState]:
    """Draw a random result of :func:`measure` without simulating its images; see ``tableau_emulation``.

    Raises
    ------
    InstrumentError
        The beam is blanked; the state is unchanged.
    """
    true, wavelength, source, after = _measuring(setup, state, what)
    setting, rng = setup.profile.probe_images, setup.rng("corrector", state.measurements)
    return tableau_emulation.emulate(true, wavelength, what, setting, rng, source_size_angstrom=source), after


def _measuring(setup: Setup, state: ScopeState, what: Tableau) -> tuple[Aberrations, float, float, ScopeState]:
    """Return aberrations in the middle of a measurement, wavelength, source size (A) and the state afterwards."""
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
    """Return the state after a correction of one aberration; see :func:`corrector.request` and :func:`corrector.correct`."""
    profile = setup.profile.corrector
    change = corrector.request(name, value, target, conjugate_mixed=conjugate_mixed)
    true = corrector.correct(change, profile, setup.rng("corrector", state.measurements))
    time = state.time_s + profile.duration_s
    after = replace(state, corrected=optics.add(state.corrected, true), time_s=time, measurements=state.measurements + 1)
    return beam_damage.after_time(setup, after, profile.duration_s)
