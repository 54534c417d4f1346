"""Data of real instruments: residual aberrations, detectors, read-out chains, scan errors, and drift of stage and beam.

[V] marks numbers that were read in the named source, [M] numbers that are quoted from memory of the literature, and [A]
engineering assumptions.

Residual aberrations are the target values of pyTEMlib, probe_tools.get_target_aberrations (MIT licence; converted from nm to A) [V].
"""

from dataclasses import replace

from stemtwin.twin.instrument.detectors import AnnularDetector, Detector, Sensitivity
from stemtwin.twin.instrument.hardware.corrector import CorrectorProfile
from stemtwin.twin.instrument.hardware.drift import TYPICAL, AberrationWander
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.hardware.stage import MECHANICAL, StagePosition
from stemtwin.twin.physics.aberrations import Aberrations

Chains = tuple[tuple[str, DetectorChain], ...]
"""Pairs (detector name, read-out chain)."""

# ---- residual aberrations of correctors

SPECTRA_200 = Aberrations.from_cartesian(
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
)
"""Spectra300 at 200 kV [V]."""
NION_60 = Aberrations.from_cartesian(
    C21a=115.0,
    C21b=1130.0,
    C23a=-1360.0,
    C23b=182.0,
    C30=1340.0,
    C32a=10800.0,
    C32b=7730.0,
    C34a=11900.0,
    C34b=-5930.0,
    C41a=-1.79174e6,
    C41b=-3.50378e6,
    C43a=5.28598e6,
    C43b=-2.57349e6,
    C45a=6.38534e5,
    C45b=1.36798e4,
    C50=2.39021e6,
    C52a=1.569280e7,
    C52b=-6.229310e7,
    C54a=-3.167620e7,
    C54b=-4.49198e6,
    C56a=-9.07315e6,
    C56b=-1.628190e5,
)
"""NionUS100 at 60 kV [V]."""
NION_100 = Aberrations.from_cartesian(
    C21a=1570.0,
    C21b=1690.0,
    C23a=-1730.0,
    C23b=487.0,
    C30=2010.0,
    C32a=10900.0,
    C32b=68400.0,
    C34a=10100.0,
    C34b=799.0,
    C41a=-2.10696e6,
    C41b=-2.62313e6,
    C43a=3.48450e6,
    C43b=-9.7888e5,
    C45a=6.80247e5,
    C45b=-314.637,
    C50=-1.93896e6,
    C52a=-1.178950e7,
    C52b=-7.414340e7,
    C54a=-1.753890e7,
    C54b=-1.753890e7,
    C56a=-6.31786e6,
    C56b=-1.65705e6,
)
"""NionUS100 at 100 kV [V]."""
NION_200 = Aberrations.from_cartesian(
    C21a=-3350.0,
    C21b=2830.0,
    C23a=-340.0,
    C23b=2200.0,
    C30=-80800.0,
    C32a=188000.0,
    C32b=-22600.0,
    C34a=9490.0,
    C34b=9490.0,
    C41a=5.4883e5,
    C41b=-4.64102e6,
    C43a=7.72405e5,
    C43b=-5.40842e6,
    C45a=-7.98444e5,
    C45b=-7.69808e5,
    C50=9.546970e7,
    C52a=-2.494290e7,
    C52b=2.999910e7,
    C54a=-2.020140e7,
    C54b=-2.019630e7,
    C56a=-5.35079e6,
    C56b=1.851850e7,
)
"""NionUS200 at 200 kV [V]."""

# ---- detectors: 5 to 30 % uneven with an insensitive centre [M], shapes [A]
# (LeBeau and Stemmer, Ultramicroscopy 108 (2008) 1653)

FEI_DETECTORS: tuple[Detector, ...] = (
    AnnularDetector(
        inner_mrad=62,
        outer_mrad=200,
        name="haadf",
        sensitivity=Sensitivity(slope=0.06, slope_azimuth_rad=0.7, bowl=-0.06, twofold=0.02, twofold_azimuth_rad=1.9, dead_mrad=64),
    ),
    AnnularDetector(inner_mrad=12, outer_mrad=24, name="abf"),
    AnnularDetector(inner_mrad=0, outer_mrad=12, name="bf"),
)
"""HAADF ring at a camera length of 115 mm [M]; other angles follow from the convergence as in ``detectors.annular``."""
NION_DETECTORS: tuple[Detector, ...] = (
    AnnularDetector(
        inner_mrad=89, outer_mrad=195, name="haadf", sensitivity=Sensitivity(slope=0.04, slope_azimuth_rad=-2.2, bowl=-0.04, dead_mrad=90)
    ),
    AnnularDetector(inner_mrad=55, outer_mrad=82, name="maadf", sensitivity=Sensitivity(slope=0.03, slope_azimuth_rad=1.1)),
)
"""HAADF 89 to 195 mrad and MAADF 55 to 82 mrad, as published for an UltraSTEM 100 at 60 kV [M]."""
OLD_DETECTORS: tuple[Detector, ...] = (
    AnnularDetector(
        inner_mrad=50,
        outer_mrad=180,
        name="haadf",
        sensitivity=Sensitivity(slope=0.12, slope_azimuth_rad=2.6, bowl=-0.1, twofold=0.05, dead_mrad=54),
    ),
)
"""An older detector with an efficiency that varies by 30 % [A]."""


def chains(dark: DetectorChain, *, bright_gain: float) -> Chains:
    """Return the read-out chains of an instrument's own detectors.

    Dark-field detectors have the chain ``dark``. Bright-field detectors have the same chain with its gain multiplied by
    ``bright_gain``.
    """
    bright = replace(dark, gain_adu=dark.gain_adu * bright_gain)
    return (*((name, dark) for name in ("haadf", "maadf", "laadf")), *((name, bright) for name in ("abf", "bf", "dpc4")))


MODERN_CHAINS = chains(DetectorChain(gain_adu=8, offset_adu=1000, read_noise_adu=4, dqe=0.8, bits=16, lag_us=0.1, efficiency=0.95), bright_gain=0.25)
"""YAG and YAP scintillators with 16 bits: DQE 0.6 to 0.95, decay 25 to 100 ns [M]; gain, offset, noise [A]."""
OLD_CHAINS = chains(DetectorChain(gain_adu=1.2, offset_adu=120, read_noise_adu=2.5, dqe=0.6, bits=12, lag_us=0.4, efficiency=0.9), bright_gain=0.4)
"""P47 scintillator, slower amplifier, 12 bits [A]."""

# ---- scans: hum of 0.05 to 0.5 A, line jitter of 0.03 to 0.2 A, settling in 5 to 50 us of up to 2 % of the field [A]

QUIET_SCAN = ScanImperfections(
    line_jitter_angstrom=0.03,
    line_wander_angstrom=0.03,
    line_wander_lines=12,
    hum_angstrom=(0.04, 0.06),
    hum_hz=60.0,
    hum_harmonics=((1, 1.0), (3, 0.2)),
    hum_phase_rad=(0.3, 1.4),
    settling_fraction=0.004,
    settling_time_us=10,
    hysteresis_fraction=0.002,
    hysteresis_time_s=0.5,
    scale_error=(0.004, -0.003),
    non_orthogonality_rad=0.003,
    rotation_error_rad=-0.004,
)
GOOD_SCAN = ScanImperfections(
    line_jitter_angstrom=0.05,
    line_wander_angstrom=0.06,
    line_wander_lines=10,
    hum_angstrom=(0.06, 0.09),
    hum_hz=50.0,
    hum_harmonics=((1, 1.0), (3, 0.25)),
    hum_phase_rad=(2.1, 0.4),
    settling_fraction=0.006,
    settling_time_us=18,
    hysteresis_fraction=0.003,
    hysteresis_time_s=1.0,
    scale_error=(-0.006, 0.005),
    non_orthogonality_rad=-0.004,
    rotation_error_rad=0.006,
)
ROUGH_SCAN = ScanImperfections(
    line_jitter_angstrom=0.15,
    line_wander_angstrom=0.15,
    line_wander_lines=8,
    hum_angstrom=(0.25, 0.4),
    hum_hz=50.0,
    hum_harmonics=((1, 1.0), (2, 0.1), (3, 0.35)),
    hum_phase_rad=(0.9, 2.8),
    settling_fraction=0.015,
    settling_time_us=35,
    hysteresis_fraction=0.008,
    hysteresis_time_s=2.0,
    scale_error=(0.015, -0.012),
    non_orthogonality_rad=0.012,
    rotation_error_rad=0.015,
)

# ---- drift

SCHOTTKY = replace(TYPICAL, fade=0.0, flicker=0.002, energy_sigma_ev=0.1)
"""A corrected instrument with a Schottky emitter, whose current is stable for months [M]."""
COLD = replace(TYPICAL, drift_speed_angstrom_per_s=0.015, drift_walk_angstrom=0.1, creep_speed_angstrom_per_s=0.8)
"""An instrument with a cold field emitter and a stage that settles fast [A]."""
UNCORRECTED = replace(
    SCHOTTKY,
    aberrations=(
        AberrationWander(name="C10", sigma_angstrom=40, tau_s=900, rate_angstrom_per_s=0.2),
        AberrationWander(name="C12", sigma_angstrom=30, tau_s=1800),
    ),
    drift_speed_angstrom_per_s=0.08,
    drift_walk_angstrom=0.4,
    creep_speed_angstrom_per_s=3.0,
)
"""An instrument without a corrector, with an older stage and column [A]."""
NION_STAGE = replace(
    MECHANICAL,
    backlash=StagePosition(x_angstrom=50, y_angstrom=50, z_angstrom=100, alpha_mrad=0.5, beta_mrad=0.5),
    repeatability=StagePosition(x_angstrom=50, y_angstrom=50, z_angstrom=100, alpha_mrad=0.3, beta_mrad=0.3),
    source="a stage with little play, repeatable to 5 nm [A]",
)
STIGMATOR = CorrectorProfile(
    gain=(1.04, 1.0, 1.0, 1.0, 1.0),
    rotation_rad=(0.08, 0.0, 0.0, 0.0, 0.0),
    scatter=0.02,
    reach_angstrom=(1e5, 0.0, 0.0, 0.0, 0.0),
    duration_s=0.2,
    source="focus and twofold stigmator only, slightly rotated [A]",
)
"""Control of focus and twofold astigmatism in an instrument without a probe corrector."""
