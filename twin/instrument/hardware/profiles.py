"""Instrument profiles: the numbers that distinguish one microscope from another, each with its source.

[V] marks numbers that were read in the named source, [M] numbers that are quoted from memory of the literature, and [A]
engineering assumptions. Any number can be changed by ``dataclasses.replace``.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnyDetector
from stemtwin.twin.instrument.hardware import components
from stemtwin.twin.instrument.hardware.corrector import TYPICAL_CORRECTOR, CorrectorProfile
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.hardware.stage import MECHANICAL, PIEZO, StageProfile
from stemtwin.twin.instrument.hardware.tableau import ProbeImages
from stemtwin.twin.instrument.settings import LEAST_SEMIANGLE_MRAD
from stemtwin.twin.physics import coherence, electrons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Properties of one instrument after tuning.

    Parameters
    ----------
    name : str
        Name in the registry.
    energy_ev, semiangle_mrad, current_pa, dwell_time_us : float
        Initial beam energy, eV; convergence semi-angle, mrad; probe current, pA; and dwell time, us.
    residual : Aberrations
        Residual aberrations of the tuned corrector, A and rad, which add to the commanded ones.
    brightness : float
        Brightness, A/(m^2 sr), at ``energy_ev``; infinite: a point source at any current.
    chromatic_angstrom : float
        Chromatic aberration Cc, A.
    energy_width_ev : float
        Full width at half maximum of the beam's energy, eV.
    flyback_us : float
        Time from the end of one scan line to the start of the next, us.
    max_current_pa, max_dwell_time_us : float
        Largest current (pA) and dwell time, us.
    settle_us : float
        Waiting time of the scan at the start of each line, us.
    blanks_pauses : bool
        Whether the beam is blanked between lines. An unblanked beam waits or flies back over the specimen.
    camera_length_mm, camera_lengths_mm : float, tuple of float
        Usual camera length, mm, for which the angles of ``detectors`` are given, and all available camera lengths, mm.
    largest_detector_mm : float
        Largest distance from the axis, in the detectors' plane, of electrons that pass the column below the specimen,
        mm.
    detectors : tuple
        The instrument's own detectors at the usual camera length. The angles of other detectors follow from the
        convergence semi-angle.
    chains : tuple
        Pairs (detector name, read-out chain). The name "" stands for all detectors that are not named. Detectors without
        a chain count electrons.
    imperfections : ScanImperfections
        Imperfections of the scan.
    instabilities : Instabilities
        Drift of aberrations, stage, current and energy.
    stage : StageProfile
        Imperfections of the stage.
    corrector : CorrectorProfile
        Imperfections of the corrector.
    probe_images : ProbeImages
        Settings of the measurement of aberrations.
    source : str
        Sources of the numbers.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    name: str
    energy_ev: float
    semiangle_mrad: float
    current_pa: float
    dwell_time_us: float = 4.0
    residual: Aberrations = field(default_factory=Aberrations)
    brightness: float = math.inf
    chromatic_angstrom: float = 0.0
    energy_width_ev: float = 0.0
    flyback_us: float = 0.0
    max_current_pa: float = 1000.0
    max_dwell_time_us: float = 1e5
    settle_us: float = 0.0
    blanks_pauses: bool = False
    camera_length_mm: float = 100.0
    camera_lengths_mm: tuple[float, ...] = (50.0, 75.0, 100.0, 150.0, 200.0)
    largest_detector_mm: float = math.inf
    detectors: tuple[AnyDetector, ...] = ()
    chains: tuple[tuple[str, DetectorChain], ...] = ()
    imperfections: ScanImperfections = field(default_factory=ScanImperfections)
    instabilities: Instabilities = field(default_factory=Instabilities)
    stage: StageProfile = field(default_factory=StageProfile)
    corrector: CorrectorProfile = field(default_factory=CorrectorProfile)
    probe_images: ProbeImages = field(default_factory=ProbeImages)
    source: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        checks.number("energy_ev", self.energy_ev, "eV", low=1e3, high=3e6, repair="Did you pass keV?")
        checks.number("semiangle_mrad", self.semiangle_mrad, "mrad", low=LEAST_SEMIANGLE_MRAD, high=150, repair="Did you pass rad?")
        checks.number("current_pa", self.current_pa, "pA", above=0, high=self.max_current_pa)

    def detector(self, name: str) -> AnyDetector | None:
        """Return the instrument's own detector with this name at the usual camera length, or None if there is none."""
        return next((detector for detector in self.detectors if detector.name == name), None)

    def chain(self, name: str) -> DetectorChain | None:
        """Return the read-out chain of a detector, or None for a detector that counts electrons."""
        known = dict(self.chains)
        return known.get(name, known.get(""))

    def still(self) -> Self:
        """Return a profile with the same optics, but with a perfect scan and stage, with electron counting and without drift."""
        return replace(self, imperfections=ScanImperfections(), instabilities=Instabilities(), stage=StageProfile(), chains=())

    def focal_spread_angstrom(self, energy_ev: float) -> float:
        """Return the standard deviation of C10, A, that follows from energy width and Cc at a beam energy, eV."""
        return coherence.focal_spread(energy_ev, self.chromatic_angstrom, self.energy_width_ev)

    def source_size_angstrom(self, current_pa: float, semiangle_mrad: float, energy_ev: float) -> float:
        """Return the standard deviation of the source's image, A.

        The current is in pA, the convergence semi-angle in mrad, and the energy in eV.
        The brightness is proportional to 1 / wavelength^2 (Reimer and Kohl, section 4.2.2).
        """
        if math.isinf(self.brightness):
            return 0.0
        brightness = self.brightness * (electrons.wavelength(self.energy_ev) / electrons.wavelength(energy_ev)) ** 2
        return coherence.source_size(current_pa, brightness, semiangle_mrad * 1e-3)


PROFILES: Registry[Profile] = Registry("instrument profile")
"""Instrument profiles by name."""


def find_profile(instrument: str | Profile) -> Profile:
    """Return the instrument profile with a given name. A ``Profile`` is returned unchanged.

    Raises
    ------
    UnknownNameError
        No profile has this name.
    SettingsError
        The value is neither a profile nor a name.
    """
    profile = PROFILES[instrument] if isinstance(instrument, str) else instrument
    if not isinstance(profile, Profile):
        message = f"instrument={instrument!r} is not an instrument profile. Use one of {', '.join(PROFILES)}, or a Profile."
        raise SettingsError(message)
    return profile


PROFILES.add("ideal", Profile(name="ideal", energy_ev=200e3, semiangle_mrad=20.0, current_pa=50.0, source="no aberration, point source, one energy"))

_FEI: dict[str, Any] = {
    "current_pa": 50.0,
    "chains": components.MODERN_CHAINS,
    "detectors": components.FEI_DETECTORS,
    "camera_length_mm": 115.0,
    "camera_lengths_mm": (91.0, 115.0, 145.0, 185.0, 230.0, 285.0, 360.0),
    "largest_detector_mm": 23.0,
    "imperfections": components.GOOD_SCAN,
    "instabilities": components.SCHOTTKY,
    "stage": PIEZO,
    "corrector": TYPICAL_CORRECTOR,
    "flyback_us": 100.0,
}
_NION: dict[str, Any] = {
    "chromatic_angstrom": 1.3e7,
    "energy_width_ev": 0.35,
    "chains": components.MODERN_CHAINS,
    "detectors": components.NION_DETECTORS,
    "camera_length_mm": 100.0,
    "camera_lengths_mm": (100.0, 150.0, 200.0, 300.0),
    "largest_detector_mm": 20.0,
    "imperfections": components.QUIET_SCAN,
    "instabilities": components.COLD,
    "stage": components.NION_STAGE,
    "corrector": TYPICAL_CORRECTOR,
    "flyback_us": 60.0,
}
_PARTS = "detectors, read-out chains, scan, stage, corrector and instabilities: see components.py, stage.py, corrector.py and drift.py [M, A]"
_NION_OPTICS = (
    "residual aberrations and Cc 1.3 mm: pyTEMlib probe_tools.get_target_aberrations, Nion UltraSTEM at this voltage [V]; energy width of a cold "
    "field emitter 0.3 to 0.35 eV [M]; brightness 1 to 3e13 A/(m^2 sr) at 100 kV [M], in proportion to 1 / wavelength^2 at others"
)

PROFILES.add(
    "corrected-200kv",
    Profile(
        name="corrected-200kv",
        energy_ev=200e3,
        semiangle_mrad=25.0,
        residual=components.SPECTRA_200,
        brightness=6e12,
        chromatic_angstrom=1.0e7,
        energy_width_ev=0.7,
        source=(
            "residual aberrations and Cc 1.0 mm: pyTEMlib probe_tools.get_target_aberrations, Spectra300 at 200 kV [V]; brightness of an X-FEG "
            f"5 to 8e12 A/(m^2 sr) and energy width 0.7 eV [M]; convergence 25 mrad, current 50 pA, flyback 100 us [A]; {_PARTS}"
        ),
        **_FEI,
    ),
)

PROFILES.add(
    "corrected-300kv",
    Profile(
        name="corrected-300kv",
        energy_ev=300e3,
        semiangle_mrad=22.0,
        residual=components.SPECTRA_200,
        brightness=1e13,
        chromatic_angstrom=1.6e7,
        energy_width_ev=0.9,
        source=(
            "residual aberrations as at 200 kV [A]; Cc 1.6 mm, energy width 0.9 eV [M]; brightness of an X-FEG 5 to 8e12 A/(m^2 sr) at 200 kV [M], "
            f"in proportion to 1 / wavelength^2; convergence 22 mrad: the residual leaves a Strehl ratio above 0.8 [A]; {_PARTS}"
        ),
        **_FEI,
    ),
)

for _name, _energy, _angle, _current, _residual, _brightness, _why in (
    ("nion-60", 60e3, 30.0, 50.0, components.NION_60, 1.2e13, "convergence 30 mrad, as in pyTEMlib [V]; current 50 pA [A]"),
    ("nion-100", 100e3, 30.0, 60.0, components.NION_100, 2e13, "convergence 30 mrad, as in pyTEMlib [V]; current 60 pA [A]"),
    (
        "nion-200",
        200e3,
        15.0,
        50.0,
        components.NION_200,
        4.3e13,
        "convergence 15 mrad, the largest with a Strehl ratio of 0.8 at these values (pyTEMlib: 30) [A]; current 50 pA [A]",
    ),
):
    PROFILES.add(
        _name,
        Profile(
            name=_name,
            energy_ev=_energy,
            semiangle_mrad=_angle,
            current_pa=_current,
            residual=_residual,
            brightness=_brightness,
            source=f"{_NION_OPTICS}; {_why}; {_PARTS}",
            **_NION,
        ),
    )

PROFILES.add(
    "schottky-200kv",
    Profile(
        name="schottky-200kv",
        energy_ev=200e3,
        semiangle_mrad=9.6,
        current_pa=20.0,
        residual=Aberrations(C30=1.2e7),
        brightness=3e12,
        chromatic_angstrom=1.2e7,
        energy_width_ev=0.9,
        detectors=components.OLD_DETECTORS,
        chains=components.OLD_CHAINS,
        camera_length_mm=100.0,
        camera_lengths_mm=(100.0, 150.0, 200.0, 300.0, 500.0),
        largest_detector_mm=18.0,
        imperfections=components.ROUGH_SCAN,
        instabilities=components.UNCORRECTED,
        stage=MECHANICAL,
        corrector=components.STIGMATOR,
        flyback_us=200.0,
        max_dwell_time_us=1e5,
        source=(
            "no corrector: Cs 1.2 mm, Cc 1.2 mm (0.5 to 1.3 and 1 to 2 mm are usual) [M]; Schottky emitter 2 to 5e12 A/(m^2 sr), energy width 0.7 to "
            "1.0 eV [M]; convergence (4 wavelength / Cs)^(1/4) = 9.6 mrad; the best focus is C10 = -(Cs wavelength)^(1/2) = -550 A, which the "
            f"operator sets (Scherzer, J. Appl. Phys. 20 (1949) 20); current 20 pA [A]; {_PARTS}"
        ),
    ),
)
