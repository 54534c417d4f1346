"""Stage moves, waits, and the cost of any command, as pure functions of the microscope's setup and state."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import DETECTORS
from stemtwin.twin.instrument.hardware import corrector, stage, tableau
from stemtwin.twin.instrument.scope import aberration_tuning, acquisition, beam_damage, contamination_film, knobs
from stemtwin.twin.instrument.scope import dose_budget as budget
from stemtwin.twin.instrument.scope.recorders import spectra
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState

LONGEST_S = 1e6
"""Longest single wait, s."""
FREE = {"time_s": 0.0, "electrons": 0.0, "dose_e_per_angstrom2": 0.0}


def move(setup: Setup, state: ScopeState, way: Mapping[str, float], *, relative: bool = False) -> ScopeState:
    """Return the state after a stage move, with the new position, creep and time.

    Raises
    ------
    SettingsError, InstrumentError
        Errors of :func:`stage.destination`.
    """
    profile = setup.profile.stage
    target = stage.destination(state.stage, way, profile, relative=relative)
    after, taken, _ = stage.move(state.stage, target, profile, setup.rng("stage", state.moves))
    time = state.time_s + taken
    creep = state.creep.moved(time, stage.lateral_step(state.stage, after), setup.profile.instabilities)
    moved = replace(state, stage=after, creep=creep, time_s=time, moves=state.moves + 1)
    return beam_damage.after_time(setup, moved, taken)


def wait(setup: Setup, state: ScopeState, seconds: float) -> ScopeState:
    """Return the state after a wait of ``seconds`` with the beam blanked.

    Raises
    ------
    SettingsError
        The time is negative, or longer than 1e6 s.
    """
    time = checks.number("seconds", seconds, "s", low=0, high=LONGEST_S)
    return beam_damage.after_time(setup, replace(state, time_s=state.time_s + time), time)


def price(
    setup: Setup, state: ScopeState, command: str, arguments: tuple[Any, ...], options: Mapping[str, Any], *, dose_budget: float | None = None
) -> dict[str, float]:
    """Return the cost of a command: ``time_s``, ``electrons``, ``dose_e_per_angstrom2``.

    If a dose budget, e-/A^2, is given, an acquisition that would exceed it is refused.

    Raises
    ------
    SettingsError
        The command is unknown, or its arguments are wrong.
    StemtwinError
        The command would be refused.
    """
    known = {
        "acquire": functools.partial(_acquire, dose_budget),
        "acquire_spectrum": functools.partial(_acquire_spectrum, dose_budget),
        "move_stage": _move,
        "advance_time": _wait,
        "set": _set,
        "measure": _measure,
        "correct": _correct,
        "shower": _shower,
    }
    if not isinstance(command, str) or command not in known:
        message = f"{command!r} is not a command with a cost. Use one of {', '.join(known)}."
        raise SettingsError(message)
    try:
        return known[command](setup, state, *arguments, **options)
    except TypeError as error:
        message = f"The arguments of {command} are wrong: {str(error).split('() ')[-1]}. Give the arguments of Microscope.{command}."
        raise SettingsError(message) from None


def _acquire(
    dose_budget: float | None,
    setup: Setup,
    state: ScopeState,
    scan: Any,
    *,
    average: bool = False,
    progress: object = None,
    **options: Any,
) -> dict[str, float]:
    checks.flag("average", average)
    checks.function("progress", progress)
    cost = acquisition.order(setup, state, scan, **options).cost
    budget.check(state, scan, cost["dose_e_per_angstrom2"], dose_budget)
    return cost


def _acquire_spectrum(
    dose_budget: float | None,
    setup: Setup,
    state: ScopeState,
    at: Any,
    *,
    detectors: Any = None,
    edges: tuple[str, ...] = (),
    **options: Any,
) -> dict[str, float]:
    detectors = DETECTORS.names("spectrum") if detectors is None else detectors
    spectra.check_edges(detectors, edges)
    return _acquire(dose_budget, setup, state, spectra.scan_of(at)[0], detectors=detectors, **options)


def _move(setup: Setup, state: ScopeState, *, relative: bool = False, **way: float) -> dict[str, float]:
    target = stage.destination(state.stage, way, setup.profile.stage, relative=relative)
    return {**FREE, "time_s": stage.duration_s(state.stage, target, setup.profile.stage)}


def _wait(setup: Setup, state: ScopeState, seconds: float) -> dict[str, float]:  # noqa: ARG001 - one signature for all commands
    return {**FREE, "time_s": checks.number("seconds", seconds, "s", low=0, high=LONGEST_S)}


def _shower(setup: Setup, state: ScopeState, dose_e_per_angstrom2: float) -> dict[str, float]:  # noqa: ARG001 - one signature for all commands
    return contamination_film.shower_cost(setup, dose_e_per_angstrom2)


def _measure(
    setup: Setup,
    state: ScopeState,
    kind: str = "C1A1",
    *,
    angle_mrad: float | None = None,
    max_fit: str | None = None,
    progress: object = None,
) -> dict[str, float]:
    checks.function("progress", progress)
    what = aberration_tuning.kind(kind, angle_mrad=angle_mrad, max_fit=max_fit)
    aberration_tuning.lit(state)
    return {**FREE, "time_s": tableau.duration_s(what, setup.profile.probe_images)}


def _correct(setup: Setup, state: ScopeState, name: str, value: Any, target: Any = 0.0, *, conjugate_mixed: bool = False) -> dict[str, float]:  # noqa: ARG001 - one signature for all commands
    profile = setup.profile.corrector
    corrector.check(corrector.request(name, value, target, conjugate_mixed=conjugate_mixed), profile)
    return {**FREE, "time_s": profile.duration_s}


def _set(setup: Setup, state: ScopeState, **changes: Any) -> dict[str, float]:
    knobs.turn(state.knobs, setup.profile, changes)
    return dict(FREE)
