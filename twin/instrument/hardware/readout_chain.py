"""Read-out chain of an image detector: from expected electrons to readings, and back to electrons."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.timing import ScanTiming
from stemtwin.twin.physics import detector_electronics, noise

_LIMITS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("gain_adu", "ADU", {"above": 0, "high": 1e6}),
    ("offset_adu", "ADU", {"low": -1e9, "high": 1e9}),
    ("read_noise_adu", "ADU", {"low": 0, "high": 1e6}),
    ("dqe", "", {"above": 0, "high": 1}),
    ("lag_us", "us", {"low": 0, "high": 1e6}),
    ("efficiency", "of the electrons", {"above": 0, "high": 1}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorChain:
    """Scintillator, amplifier and converter of one detector.

    Parameters
    ----------
    gain_adu : float
        Mean number of converter steps (ADU) per electron.
    offset_adu : float
        Mean reading without electrons, ADU.
    read_noise_adu : float
        Standard deviation of the noise of each reading, ADU.
    dqe : float
        Detective quantum efficiency, 1 / (1 + v), where v is the variance of the pulse heights divided by their squared
        mean.
    bits : int
        Number of bits of the converter, which rounds and clips readings; 0: readings are neither rounded nor clipped.
    lag_us : float
        Time constant of scintillator and amplifier, us.
    efficiency : float
        Fraction of the electrons on the detector that make a pulse.

    Raises
    ------
    SettingsError
        A number is out of range.

    Notes
    -----
    Without lag, (variance - read_noise_adu^2 - 1 / 12) / (mean - offset_adu) = gain_adu / dqe.
    """

    gain_adu: float = 1.0
    offset_adu: float = 0.0
    read_noise_adu: float = 0.0
    dqe: float = 1.0
    bits: int = 16
    lag_us: float = 0.0
    efficiency: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, unit, limits in _LIMITS:
            object.__setattr__(self, name, checks.number(name, getattr(self, name), unit, **limits))
        object.__setattr__(self, "bits", checks.whole("bits", self.bits, low=0, high=32))

    @property
    def full_scale_electrons(self) -> float:
        """Largest number of electrons at one point before the converter saturates; infinite if ``bits`` is 0."""
        return (2**self.bits - 1 - self.offset_adu) / self.gain_adu if self.bits else float("inf")

    def detect(
        self, expected: np.ndarray, rng: np.random.Generator, count: noise.ElectronCounting = noise.count_electrons_by_inversion
    ) -> np.ndarray:
        """Draw the number of detected electrons at each point. Each detected electron makes one pulse.

        Parameters
        ----------
        expected : ndarray
            Expected electrons on the detector, any shape; negative values from rounding count as 0.
        rng : numpy.random.Generator
            The only source of randomness.
        count : callable
            Function that draws Poisson counts, a value of ``noise.COUNTINGS``.

        Returns
        -------
        ndarray
            Numbers of detected electrons, uint32, shaped like ``expected``.
        """
        return count(expected, self.efficiency, rng)

    def convert(self, electrons: np.ndarray, rng: np.random.Generator, *, timing: ScanTiming | None = None, blanked: bool = False) -> np.ndarray:
        """Return the converter's readings for electrons that made a pulse.

        Parameters
        ----------
        electrons : ndarray
            Numbers from :meth:`detect`, any shape; with a lag, in visiting order along the last axis.
        rng : numpy.random.Generator
            The only source of randomness.
        timing : ScanTiming, optional
            Times at which the beam visits the points; required with a lag.
        blanked : bool
            Whether the beam is off between lines. If False, the beam waits at the first point of the next line.

        Returns
        -------
        ndarray
            Readings in ADU, uint16 or uint32, or float64 where ``bits`` is 0.

        Raises
        ------
        SettingsError
            There is a lag but no timing, or the timing does not match the electrons.

        Notes
        -----
        The lag acts on the drawn pulses. A part of the pulses of each point, with their noise, is read at the following
        points, so the noise of neighbouring points is correlated and smaller. Electrons arrive uniformly over the dwell time.
        """
        charge = detector_electronics.pulse_charge(electrons, self.dqe, rng)
        if self.lag_us:
            charge = self._lagged(charge, timing, blanked)
        return detector_electronics.convert(
            charge, gain=self.gain_adu, offset=self.offset_adu, read_noise=self.read_noise_adu, bits=self.bits, rng=rng
        )

    def electrons(self, adu: np.ndarray) -> np.ndarray:
        """Return the number of electrons on the detector for a reading, (adu - offset) / (gain * efficiency), float64."""
        return (np.asarray(adu, float) - self.offset_adu) / (self.gain_adu * self.efficiency)

    def _lagged(self, charge: np.ndarray, timing: ScanTiming | None, blanked: bool) -> np.ndarray:
        if timing is None or charge.shape[-1] != timing.count:
            message = (
                f"lag_us={self.lag_us:g} needs the time of each of {charge.shape[-1]} points, but the timing has "
                f"{timing.count if timing else 0}. Pass the scan's timing and electrons in visiting order, or set lag_us=0."
            )
            raise SettingsError(message)
        waits = np.zeros(timing.count)
        waits[timing.starts] = timing.pause_s
        return detector_electronics.lagged(charge, timing.dwell_s, waits, self.lag_us * 1e-6, dark=blanked)


IDEAL_CHAIN = DetectorChain(bits=0)
"""Ideal chain that counts electrons, with one step for each electron and without noise or limit."""
