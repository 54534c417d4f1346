"""Faults of an instrument: probabilities of failures of the stage, the corrector and the column valve."""

from dataclasses import dataclass, fields

from stemtwin.twin import checks

MOVING_S = 2.0
"""Time after a move during which the stage counts as moving, s; later commands are not refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities of the faults of an instrument; all are 0 by default.

    Each fault is drawn for every command, from a random stream of its own. All faults except a closed valve are reported to
    the operator (``Session.failed``, unchanged read-backs).

    Parameters
    ----------
    blocked_stage : float
        Probability that the stage does not move: the time of the move passes, and the encoder readings are unchanged.
    refused_while_moving : float
        Probability that a command within 2 s after a move of the stage is refused: nothing happens and no time passes.
        Waits, acquisitions and measurements are never refused.
    closed_valve : float
        Probability that the column valve is closed during an acquisition: its frames contain only the noise of the
        detectors, and the specimen receives no dose. Time and dose are charged as with an open valve, and only the dark
        frame reveals the fault. A measurement of aberrations fails.
    failed_correction : float
        Probability that a change of the optics fails: its time passes, and the aberrations are unchanged.

    Raises
    ------
    SettingsError
        A number is not in [0, 1].
    """

    blocked_stage: float = 0.0
    refused_while_moving: float = 0.0
    closed_valve: float = 0.0
    failed_correction: float = 0.0

    def __post_init__(self) -> None:
        """Check the probabilities."""
        for name in FAULTS:
            checks.number(name, getattr(self, name), "", low=0, high=1)

    @property
    def possible(self) -> bool:
        """True if any fault can happen."""
        return any(getattr(self, name) for name in FAULTS)

    @property
    def faults(self) -> "Faults":
        """Probabilities of the faults alone, without the fields that a subclass adds."""
        return Faults(**{name: float(getattr(self, name)) for name in FAULTS})


FAULTS = tuple(item.name for item in fields(Faults))
"""Names of the faults."""
