"""Beam damage: changes of a specimen by each pass of the beam and during waits."""

import math
from dataclasses import replace

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scope.scan_pass import ScanPass as Pass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.specimen_state import Damage, Matter
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.timing import ScanTiming
from stemtwin.twin.physics.dynamics import contamination
from stemtwin.twin.physics.dynamics.current_density import Density, gaussian_density, probe_density
from stemtwin.twin.physics.dynamics.exposure import Exposure, parked, waited
from stemtwin.twin.physics.dynamics.kinetics import advance
from stemtwin.twin.physics.dynamics.relaxation import advance_relaxed
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND
from stemtwin.twin.physics.noise import electrons_per_point
from stemtwin.twin.samples.sample import Sample

FLOOD_SIGMA = 1e5
"""Standard deviation of a beam that is uniform over any specimen, A."""


def begun(setup: Setup, state: ScopeState) -> ScopeState:
    """Return the initial state, with the atomic sites of the specimen if the beam can change it.

    Raises
    ------
    SettingsError
        The specimen is a potential without atoms, or so small that an atom would be its own neighbour.
    """
    if setup.damage is None:
        return state
    if not isinstance(state.specimen, Sample):
        message = "A potential has no atoms that the beam can move. Give a Sample, or leave out damage."
        raise SettingsError(message)
    matter = Matter.of(state.specimen, setup.damage)
    return replace(state, matter=matter, specimen=matter.sample())


def after_pass(setup: Setup, state: ScopeState, shot: Pass) -> ScopeState:
    """Return the state after the damage by one pass, along the true path with the true probe and current."""
    if setup.damage is None or state.matter is None:
        return state
    points, dwell, shares = _path(shot, electrons_per_point(state.knobs.current_pa, shot.timing.dwell_s), blanked=setup.profile.blanks_pauses)
    exposure = Exposure(
        points=points,
        dwell=dwell,
        current=0.0 if state.knobs.blanked else state.knobs.current_pa * max(float(shares.max()), 1.0),
        energy=state.knobs.energy_ev,
        density=_density(setup, state, shot.timing.start_s),
        beam=np.zeros(len(dwell)) if state.knobs.blanked else shares / max(float(shares.max()), 1.0),
    )
    return _suffered(setup, setup.damage, state, exposure)


def after_time(setup: Setup, state: ScopeState, seconds: float) -> ScopeState:
    """Return the state after ``seconds`` without beam.

    During this time, spontaneous processes happen, and contaminant molecules return to depleted areas.
    """
    if setup.damage is None or state.matter is None or not seconds or not (state.matter.restless or state.matter.film is not None):
        return state
    exposure = waited(seconds, energy=state.knobs.energy_ev, density=_density(setup, state, state.time_s))
    return _suffered(setup, setup.damage, state, exposure)


def after_flood(setup: Setup, state: ScopeState, middle: tuple[float, float], seconds: float, dose: float) -> ScopeState:
    """Return the state after a flood with a uniform dose, e-/A^2.

    The flood is centred on the position ``middle`` (x, y), A, and lasts for ``seconds``. A contamination film does not
    grow during the flood.
    """
    if setup.damage is None or state.matter is None:
        return state
    wide = gaussian_density(FLOOD_SIGMA)  # the flux is its peak times the current
    current = dose * 2 * math.pi * FLOOD_SIGMA**2 / (seconds * ELECTRONS_PER_PICOAMPERE_SECOND)
    flood = parked(middle, seconds, current=current, energy=state.knobs.energy_ev, density=wide)
    film = state.matter.film
    after = _suffered(setup, setup.damage, replace(state, matter=replace(state.matter, film=None)), flood)
    assert after.matter is not None
    return replace(after, matter=replace(after.matter, film=film))


def _suffered(setup: Setup, damage: Damage, state: ScopeState, exposure: Exposure) -> ScopeState:
    before = state.matter
    assert before is not None  # callers pass only specimens that can change
    film = before.film
    if film is not None and damage.contamination is not None:
        film = contamination.grow(film, exposure, damage.contamination)
    sites, events = before.sites, before.events
    if before.processes:
        run = advance_relaxed if before.relax else advance
        rng = setup.rng("damage", state.exposures)
        sites, new = run(sites, exposure, before.processes, rng, temperature=damage.temperature_k)
        events = events + new if len(new) else events
    matter = replace(before, sites=sites, events=events, film=film)
    changed = len(events) > len(before.events)
    return replace(state, matter=matter, specimen=matter.sample() if changed else state.specimen, exposures=state.exposures + 1)


def _density(setup: Setup, state: ScopeState, time_s: float) -> Density:
    beam = setup.beam(state, time_s)
    return probe_density(beam.energy_ev, beam.semiangle_rad, beam.aberrations, beam.source_size_angstrom, beam.focal_spread_angstrom)


def _path(shot: Pass, usual: float, *, blanked: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points, dwell times (s) and relative currents of a pass with its pauses at the first points of lines."""
    timing: ScanTiming = shot.timing
    share = shot.incident / usual
    starts = timing.starts
    points = np.insert(shot.points, starts, shot.points[starts], axis=0)
    dwell = np.insert(np.full(timing.count, timing.dwell_s), starts, timing.pause_s)
    shares = np.insert(share, starts, np.zeros(len(starts)) if blanked else share[starts])
    if timing.tail_s:
        points = np.concatenate([points, shot.points[:1]])
        dwell, shares = np.append(dwell, timing.tail_s), np.append(shares, 0.0 if blanked else share[-1])
    return points, dwell, shares
