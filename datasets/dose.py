"""Dose, dwell time and beam current of a frame with square pixels."""

from stemtwin.twin.physics.electrons import ELEMENTARY_CHARGE

ELECTRON_PER_US_PA = 1e-18 / ELEMENTARY_CHARGE
"""Electrons per microsecond in 1 pA."""


def dwell_times(
    dose_e_per_angstrom2: float, pixel_angstrom: float, *, dwell_time_us: tuple[float, float], current_pa: tuple[float, float]
) -> tuple[float, float]:
    """Return the shortest and longest dwell time for a dose, within given ranges of the dwell time and the probe current.

    Parameters
    ----------
    dose_e_per_angstrom2, pixel_angstrom : float
        Dose of the frame, e-/A^2, and size of its pixels, A.
    dwell_time_us, current_pa : tuple of float
        Ranges of the dwell time (us) and of the probe current, pA.

    Returns
    -------
    tuple of float
        Shortest and longest dwell time, us. If no dwell time and current in the ranges give the dose, the first value is
        larger than the second.
    """
    charge = dose_e_per_angstrom2 * pixel_angstrom**2 / ELECTRON_PER_US_PA
    return max(dwell_time_us[0], charge / current_pa[1]), min(dwell_time_us[1], charge / current_pa[0])


def current(dose_e_per_angstrom2: float, pixel_angstrom: float, dwell_time_us: float) -> float:
    """Return the probe current in pA that gives a dose [e-/A^2] with a pixel size [A] and a dwell time [us]."""
    return dose_e_per_angstrom2 * pixel_angstrom**2 / (ELECTRON_PER_US_PA * dwell_time_us)
