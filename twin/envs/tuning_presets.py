"""Instruments of ``stemtwin/AberrationCorrection-v1``: presets, drawn misalignments and correctors, doses of measurements."""

from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.arguments import Conditions, Randomisation
from stemtwin.twin.instrument.hardware.corrector import TYPICAL_CORRECTOR, CorrectorProfile
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.hardware.tableau import C1A1, ProbeImages, Tableau, tableau
from stemtwin.twin.physics.aberrations import Aberrations

NAMES = ("C10", "C12a", "C12b", "C21a", "C21b", "C23a", "C23b", "C30", "C32a", "C32b", "C34a", "C34b")
"""Correctable coefficients: 3 of first order, 7 up to second order, 12 up to third order."""
KNOBS = {1: 3, 2: 7, 3: 12}
"""Number of correctable coefficients by largest order."""
IMAGE, RONCHIGRAM = "image", "Ronchigram"
MEASUREMENTS = (IMAGE, RONCHIGRAM, "C1A1", "Fast", "Standard")
"""Acquisitions of an action: images, Ronchigrams and measurements of aberrations."""
REACH = 5.0
"""Largest distance of a knob from its start, in units of the largest change by one action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPreset:
    """Settings of one difficulty of aberration correction.

    Parameters
    ----------
    randomisation : Randomisation
        Ranges from which episodes are drawn; ``knob_gain`` is the gain of the corrector for the orders 1, 2 and 3.
    order : int
        Largest order of the aberrations that are misaligned and can be corrected.
    start : dict
        Smallest and largest magnitude of each misaligned aberration (A) by its name in Krivanek's notation.
    rotation_rad : float
        Largest angle by which the corrector rotates a commanded change, rad.
    coupling : float
        Largest size of the random factors, of either sign, that multiply the parasitic aberrations of a typical corrector.
    scatter : float
        Hysteresis of the corrector, relative to the commanded change.
    density : tuple of float
        Range of the density of clusters on the film, 1/A^2, uniform in its logarithm.
    measuring_pa : float
        Probe current of C1A1 and tableaus, pA.
    faults : bool
        Whether the instrument has read-out chains, scan imperfections and instabilities; otherwise it is ideal in these respects.
    actions : int
        Number of actions in one episode.
    time_s, dose_e_per_angstrom2 : float
        Budget of time (s) and budget of dose on the film, e-/A^2.
    """

    randomisation: Randomisation
    order: int
    start: dict[str, tuple[float, float]]
    rotation_rad: float = 0.0
    coupling: float = 0.0
    scatter: float = 0.0
    density: tuple[float, float] = (0.006, 0.015)
    measuring_pa: float = 200.0
    faults: bool = True
    actions: int
    time_s: float
    dose_e_per_angstrom2: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the correctable coefficients."""
        return NAMES[: KNOBS[self.order]]

    @property
    def step(self) -> np.ndarray:
        """Largest change of each coefficient by one action, A."""
        return np.array([self.start[name[:3]][1] for name in self.names])

    @property
    def reach(self) -> np.ndarray:
        """Largest distance of each knob from its start, A."""
        return REACH * self.step


FIRST = {"C10": (100.0, 500.0), "C12": (50.0, 300.0)}
SECOND = {"C10": (100.0, 600.0), "C12": (50.0, 400.0), "C21": (2e3, 1.2e4), "C23": (1e3, 5e3)}
THIRD = {
    "C10": (200.0, 1000.0),
    "C12": (100.0, 500.0),
    "C21": (3e3, 1.5e4),
    "C23": (1e3, 5e3),
    "C30": (5e3, 3e4),
    "C32": (1e4, 1e5),
    "C34": (5e3, 3e4),
}
PRESETS = {
    "easy": TuningPreset(
        randomisation=Randomisation(electrons_per_point=(800.0, 3000.0), residual=(0.0, 0.3), drift=(0.0, 0.0), knob_gain=(0.95, 1.05)),
        order=1,
        start=FIRST,
        faults=False,
        actions=20,
        time_s=120.0,
        dose_e_per_angstrom2=1e6,
    ),
    "standard": TuningPreset(
        randomisation=Randomisation(electrons_per_point=(500.0, 2000.0), residual=(0.7, 1.3), drift=(0.0, 2.0), knob_gain=(0.85, 1.15)),
        order=2,
        start=SECOND,
        rotation_rad=0.06,
        coupling=1.5,
        scatter=0.02,
        measuring_pa=60.0,
        actions=40,
        time_s=240.0,
        dose_e_per_angstrom2=8e5,
    ),
    "hard": TuningPreset(
        randomisation=Randomisation(
            profiles=("corrected-200kv", "corrected-300kv"),
            electrons_per_point=(300.0, 1500.0),
            residual=(0.5, 1.5),
            drift=(0.5, 3.0),
            knob_gain=(0.75, 1.25),
            failing=0.1,
        ),
        order=3,
        start=THIRD,
        rotation_rad=0.12,
        coupling=2.5,
        scatter=0.04,
        density=(0.003, 0.012),
        measuring_pa=30.0,
        actions=56,
        time_s=360.0,
        dose_e_per_angstrom2=6e5,
    ),
}


def instrument(preset: TuningPreset, conditions: Conditions, corrector: CorrectorProfile) -> Profile:
    """Return the instrument of an episode with the drawn conditions and the drawn corrector."""
    profile = sessions.with_residual(sessions.drifting(PROFILES[conditions.profile], conditions.drift), conditions.residual)
    setting = replace(profile.probe_images, current_pa=preset.measuring_pa)
    profile = replace(profile, corrector=corrector, probe_images=setting)
    return profile if preset.faults else replace(profile, imperfections=ScanImperfections(), chains=(), instabilities=Instabilities())


def draw_corrector(preset: TuningPreset, conditions: Conditions, rng: np.random.Generator) -> CorrectorProfile:
    """Draw the rotations and couplings of the corrector; the conditions give its gains."""
    rotation = preset.rotation_rad * rng.uniform(-1, 1, 5)
    ratios = preset.coupling * rng.uniform(-1, 1, len(TYPICAL_CORRECTOR.parasitic))
    coupled = [(source, to, float(ratio * usual)) for (source, to, usual), ratio in zip(TYPICAL_CORRECTOR.parasitic, ratios, strict=True)]
    return CorrectorProfile(
        gain=(*conditions.knob_gain, 1.0, 1.0),
        rotation_rad=tuple(rotation.tolist()),
        parasitic=tuple(coupled) if preset.coupling else (),
        scatter=preset.scatter,
        duration_s=TYPICAL_CORRECTOR.duration_s,
        source="drawn for an episode about a typical corrector",
    )


def draw_misalignment(preset: TuningPreset, rng: np.random.Generator, scale: float) -> Aberrations:
    """Draw the misalignment of all aberrations; ``scale`` multiplies their magnitudes.

    Magnitudes are uniform within their ranges, and azimuths are uniform. Rotationally symmetric aberrations have a random
    sign instead of an azimuth.
    """
    drawn: dict[str, float] = {}
    for name, (low, high) in preset.start.items():
        size, side = scale * float(rng.uniform(low, high)), float(rng.uniform(-1, 1))
        drawn[name] = size if int(name[2]) else float(np.copysign(size, side))
        if int(name[2]):
            drawn[f"phi{name[1:]}"] = np.pi * side / int(name[2])
    return Aberrations(**drawn)


def kind(name: str) -> Tableau:
    """Return the tilts and the fitted order of a measurement by its name, ``"C1A1"`` or the name of a tableau."""
    return C1A1 if name == C1A1.name else tableau(name)


def measuring_dose(name: str, setting: ProbeImages) -> float:
    """Return the dose of a measurement on the specimen, a carbon film with gold clusters, e-/A^2."""
    return len(kind(name).tilts_mrad()) * setting.dose_e_per_angstrom2
