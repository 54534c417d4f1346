"""Instrument profiles: the numbers that make one microscope differ from another, each with its source.

[V] read in the named source; [M] from the literature by memory; [A] an engineering assumption. All of them are settable: ``dataclasses.replace``.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Self

from stemtwin.twin.instrument import checks
from stemtwin.twin.instrument.chain import DetectorChain
from stemtwin.twin.instrument.corrector import CorrectorProfile
from stemtwin.twin.instrument.distortion import ScanImperfections
from stemtwin.twin.instrument.instabilities import Instabilities
from stemtwin.twin.instrument.stage import StageProfile
from stemtwin.twin.instrument.tableau import ProbeImages
from stemtwin.twin.physics import coherence, electrons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One instrument as it stands after tuning.

    Parameters
    ----------
    name : str
        Registry name.
    energy_ev, semiangle_mrad, current_pa, dwell_time_us : float
        Usual settings.
    residual : Aberrations
        What the corrector leaves, A and rad; added to what is commanded.
    brightness : float
        A/(m^2 sr) at ``energy_ev``; infinite: a point source whatever the current.
    chromatic_angstrom : float
        Chromatic aberration Cc, A.
    energy_width_ev : float
        Full width at half maximum of the beam's energy, eV.
    flyback_us : float
        Time from the end of one scan line to the start of the next, us.
    max_current_pa, max_dwell_time_us : float
        Largest current, pA, and dwell time, us.
    settle_us : float
        Time that the scan waits at the beginning of each line, us.
    blanks_pauses : bool
        Whether the beam is kept off the specimen between lines, where it otherwise waits or flies back.
    camera_length_mm, camera_lengths_mm : float, tuple of float
        The usual camera length, at which detectors have their angles, and those that can be set, mm.
    largest_detector_mm : float
        What the column below the specimen lets through: distance from the axis in the detectors' plane, mm.
    chains : tuple
        Pairs of a detector's name and its chain; detectors that are not named count electrons. The name "" stands for all of them.
    imperfections : ScanImperfections
        What is wrong with the scan.
    instabilities : Instabilities
        What strays and drifts.
    stage : StageProfile
        How good the stage is.
    corrector : CorrectorProfile
        How well corrections do what they are told.
    probe_images : ProbeImages
        How aberrations are measured.
    source : str
        Where the numbers come from.

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
        checks.number("semiangle_mrad", self.semiangle_mrad, "mrad", above=0, high=150)
        checks.number("current_pa", self.current_pa, "pA", above=0, high=self.max_current_pa)

    def chain(self, name: str) -> DetectorChain | None:
        """Return the chain of a detector, or None where its electrons are counted."""
        known = dict(self.chains)
        return known.get(name, known.get(""))

    def still(self) -> Self:
        """Return the same optics with a perfect scan and stage, where nothing strays and electrons are counted."""
        return replace(self, imperfections=ScanImperfections(), instabilities=Instabilities(), stage=StageProfile(), chains=())

    def focal_spread_angstrom(self, energy_ev: float) -> float:
        """Return the standard deviation of C10 that the energy width and the chromatic aberration make at a beam energy (eV), A."""
        return coherence.focal_spread(energy_ev, self.chromatic_angstrom, self.energy_width_ev)

    def source_size_angstrom(self, current_pa: float, semiangle_mrad: float, energy_ev: float) -> float:
        """Return the standard deviation of the source's image at a current (pA), convergence (mrad) and beam energy (eV), A.

        The brightness grows with the energy as 1 / wavelength^2 (Reimer and Kohl, section 4.2.2).
        """
        if math.isinf(self.brightness):
            return 0.0
        brightness = self.brightness * (electrons.wavelength(self.energy_ev) / electrons.wavelength(energy_ev)) ** 2
        return coherence.source_size(current_pa, brightness, semiangle_mrad * 1e-3)


PROFILES: Registry[Profile] = Registry("instrument profile")
"""Instrument profiles by name."""

PROFILES.add("ideal", Profile(name="ideal", energy_ev=200e3, semiangle_mrad=20.0, current_pa=50.0, source="no aberration, point source, one energy"))

PROFILES.add(
    "corrected-200kv",
    Profile(
        name="corrected-200kv",
        energy_ev=200e3,
        semiangle_mrad=25.0,
        current_pa=50.0,
        residual=Aberrations.from_cartesian(
            C21a=-680.0,
            C21b=650.0,
            C23a=120.0,
            C23b=-300.0,
            C30=1230.0,
            C32a=950.0,
            C32b=-1900.0,
            C34a=-470.0,
            C34b=-950.0,
            C50=5.5e6,
            C56a=-3.7e5,
            C56b=2.1e5,
        ),
        brightness=6e12,
        chromatic_angstrom=1.0e7,
        energy_width_ev=0.7,
        flyback_us=100.0,
        source=(
            "residual aberrations and Cc 1.0 mm: pyTEMlib probe_tools.get_target_aberrations, Spectra300 at 200 kV [V]; brightness of an X-FEG "
            "5 to 8e12 A/(m^2 sr) and energy width 0.7 eV [M]; convergence 25 mrad, current 50 pA, flyback 100 us [A]"
        ),
    ),
)
