"""Instruments and specimens of ``stemtwin/Autofocus-v2``: presets, and imaging operators for all drawn conditions."""

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.arguments import Randomisation, plain_values
from stemtwin.twin.envs.preparation import specimen
from stemtwin.twin.envs.session import Session
from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.bare_frames import ImagingPlan
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator

SHAPE = (128, 128)
FIELD_ANGSTROM = 16.0
"""Side of the field, A."""
SEMIANGLE_MRAD = 20.0
"""Convergence semi-angle, mrad."""
CURRENT_PA = 50.0
"""Probe current, pA."""
THICKNESS_ANGSTROM = {"srtio3-001": 7.81, "au-001": 8.16, "si-110": 7.68}
"""Reduced thickness of crystals, A: a thin crystal has a single focus, and its operator is built in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutofocusPreset:
    """Settings of one difficulty of the focusing task, version 2.

    Parameters
    ----------
    randomisation : Randomisation
        Ranges from which episodes are drawn.
    start_c10, start_c12 : tuple of float
        Smallest and largest abs(C10), and smallest and largest abs(C12), at the start, A.
    reach : tuple of float
        Largest distances of C10, C12a and C12b from their starting values, A.
    faults : bool
        Whether the instrument has its detector read-out chain, scan distortion and drifting aberrations; otherwise
        electrons are counted, and scan and optics are perfectly stable.
    frames : int
        Number of frames in one episode, including the first.
    dose_budget_e_per_angstrom2 : float
        Dose budget of one episode, e-/A^2.
    wait_s : float
        Waiting time with the beam blanked before each frame after the first, s.
    """

    randomisation: Randomisation
    start_c10: tuple[float, float]
    start_c12: tuple[float, float]
    reach: tuple[float, float, float]
    faults: bool = True
    frames: int = 16
    dose_budget_e_per_angstrom2: float = 1e6
    wait_s: float = 0.0


ANYWHERE = (-math.pi, math.pi)
PRESETS = {
    "easy": AutofocusPreset(
        randomisation=Randomisation(rotation_rad=ANYWHERE, electrons_per_point=(800.0, 2000.0), drift=(0.0, 0.0)),
        start_c10=(20.0, 100.0),
        start_c12=(0.0, 50.0),
        reach=(120.0, 60.0, 60.0),
        faults=False,
    ),
    "standard": AutofocusPreset(
        randomisation=Randomisation(
            samples=("mos2-1h", "srtio3-001", "au-001"),
            rotation_rad=ANYWHERE,
            electrons_per_point=(800.0, 2000.0),
            residual=(0.7, 1.3),
            drift=(0.0, 2.0),
        ),
        start_c10=(20.0, 105.0),
        start_c12=(0.0, 60.0),
        reach=(120.0, 68.0, 68.0),
    ),
    "hard": AutofocusPreset(
        randomisation=Randomisation(
            samples=("mos2-1h", "wse2-1h", "srtio3-001", "au-001", "si-110"),
            profiles=("corrected-200kv", "corrected-300kv"),
            rotation_rad=ANYWHERE,
            electrons_per_point=(300.0, 1500.0),
            residual=(0.5, 1.5),
            drift=(0.5, 3.0),
            knob_gain=(0.9, 1.1),
            failing=0.05,
        ),
        start_c10=(40.0, 150.0),
        start_c12=(0.0, 100.0),
        reach=(167.0, 112.0, 112.0),
        dose_budget_e_per_angstrom2=6e5,
    ),
    "drift": AutofocusPreset(
        randomisation=Randomisation(rotation_rad=ANYWHERE, electrons_per_point=(800.0, 2000.0), drift=(0.5, 1.5)),
        start_c10=(20.0, 40.0),
        start_c12=(0.0, 20.0),
        reach=(420.0, 70.0, 70.0),
        frames=64,
        dose_budget_e_per_angstrom2=8e6,  # 62 frames with 2000 electrons per point
        wait_s=60.0,
    ),
}


SPECIMENS = tuple(dict.fromkeys(name for preset in PRESETS.values() for name in preset.randomisation.samples))
INSTRUMENTS = tuple(dict.fromkeys(name for preset in PRESETS.values() for name in preset.randomisation.profiles))
"""Specimens and instruments of all presets; the truth of a state contains the index of its specimen and of its instrument."""


def operator_numbers(preset: AutofocusPreset, drawn: Randomisation) -> dict[str, Any]:
    """Return the numbers that every agent receives in its brief: start, knobs, budgets, frames and specimens of a preset, by name."""
    return {
        "start_c10_angstrom": plain_values(preset.start_c10),
        "start_c12_angstrom": plain_values(preset.start_c12),
        "reach_angstrom": plain_values(preset.reach),
        "faults": preset.faults,
        "frames": preset.frames,
        "dose_budget_e_per_angstrom2": preset.dose_budget_e_per_angstrom2,
        "wait_s": preset.wait_s,
        "shape": plain_values(SHAPE),
        "field_of_view_angstrom": FIELD_ANGSTROM,
        "semiangle_mrad": SEMIANGLE_MRAD,
        "current_pa": CURRENT_PA,
        "thickness_angstrom": {name: THICKNESS_ANGSTROM[name] for name in drawn.samples if name in THICKNESS_ANGSTROM},
    }


def instrument(name: str, residual: float, drift: float, *, faults: bool) -> Profile:
    """Return an instrument with scaled residual aberrations and specimen drift, with or without its other faults."""
    profile = sessions.with_residual(sessions.drifting(PROFILES[name], drift), residual)
    if faults:
        return profile
    usual = profile.instabilities
    calm = Instabilities(drift_speed_angstrom_per_s=usual.drift_speed_angstrom_per_s, drift_walk_angstrom=usual.drift_walk_angstrom)
    return replace(profile, imperfections=ScanImperfections(), chains=(), instabilities=calm)


def begin(setup: Setup, sample: str, **given: Any) -> Session:
    """Return a session with a given specimen; convergence semi-angle and beam current have their usual values.

    ``given`` is passed to ``session.start``.
    """
    return sessions.start(setup, specimen(sample, THICKNESS_ANGSTROM.get(sample)), semiangle_mrad=SEMIANGLE_MRAD, current_pa=CURRENT_PA, **given)


def window_angstrom(preset: AutofocusPreset, drawn: Randomisation, sample: str, profile: str) -> float:
    """Return the side of the calculation window (A) for the widest probe within the ranges of the knobs and of the drift of the optics."""
    semiangle = SEMIANGLE_MRAD * 1e-3
    c10, a, b = preset.reach
    turned = drawn.knob_gain[1] * (c10 + math.hypot(a, b))
    strayed, seconds = 0.0, preset.frames * max(preset.wait_s, 1.0)
    for item in PROFILES[profile].instabilities.aberrations if preset.faults else ():
        if item.name in ("C10", "C12"):
            strayed += item.rate_angstrom_per_s * seconds + 3 * item.sigma_angstrom * math.sqrt(-math.expm1(-2 * seconds / item.tau_s))
    worst = preset.start_c10[1] + preset.start_c12[1] + turned + strayed + specimen(sample, THICKNESS_ANGSTROM.get(sample)).thickness_angstrom
    residual = sessions.scaled(PROFILES[profile].residual, drawn.residual[1])
    return WINDOW_MARGIN + 2 * (worst * semiangle + optics.blur_radius(residual, semiangle))


@functools.lru_cache(maxsize=64)
def focus_plan(preset: AutofocusPreset, drawn: Randomisation, phonons: int | str, sample: str, profile: str) -> ImagingPlan:
    """Return the plan of the frames of a specimen in an instrument.

    The plan is valid for all scan rotations, doses, residual aberrations, drifts and knob gains that ``drawn`` allows.

    Raises
    ------
    SettingsError
        The frames cannot be computed by one imaging operator; the chained exception gives the reason.
    """
    setup = Setup(
        profile=instrument(profile, drawn.residual[1], 0.0, faults=preset.faults),
        seed=0,
        phonons=phonons,
        lattice_average=False,
        specimen_seed=0,
        window_angstrom=window_angstrom(preset, drawn, sample, profile),
    )
    scan = RasterScan(shape=SHAPE, field_of_view_angstrom=(FIELD_ANGSTROM, FIELD_ANGSTROM))
    try:
        return sessions.imaging_plan(begin(setup, sample), scan)
    except StemtwinError as error:
        message = (
            f"samples={sample!r} in profiles={profile!r} with residual up to {drawn.residual[1]:g} and phonons={phonons!r} needs an imaging "
            "operator that is too large or too slow to build on this machine. Draw another sample or profile, a smaller residual, or fewer phonons."
        )
        raise SettingsError(message) from error


@functools.lru_cache(maxsize=64)
def imaging(preset: AutofocusPreset, drawn: Randomisation, phonons: int | str, sample: str, profile: str) -> tuple[ImagingOperator, ImagingPlan]:
    """Return the imaging operator and its plan from a cache, so a step does not compute the operator's key again."""
    plan = focus_plan(preset, drawn, phonons, sample, profile)
    return plan.operator(), plan
