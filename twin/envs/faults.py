"""Faults of an instrument: probabilities with which a stage, a corrector or a valve fails an operator."""

from dataclasses import dataclass, fields

from stemtwin.twin import checks

MOVING_S = 2.0
"""Time after a move of the stage in which it counts as moving, s: whoever waits so long is not refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities of faults, each drawn for every command from a stream of its own; by default there are none.

    The operator is told of all faults but a closed valve (``Session.failed``, read-backs that stay).

    Parameters
    ----------
    blocked_stage : float
        That a move of the stage goes nowhere: its time passes, the encoders read what they read before.
    refused_while_moving : float
        That a command is refused which comes within 2 s after a move of the stage: nothing happens, no time passes.
        Waiting is never refused, acquisitions and measurements are not either.
    closed_valve : float
        That the column valve is closed in an acquisition: its frames are dark but for the detectors' noise and the
        specimen gets no dose. Books are kept as for an open valve, and nothing but the dark frame tells it. In a
        measurement of aberrations: that it fails.
    failed_correction : float
        That a change of the optics fails: its time passes, the aberrations stay as they are.

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
        """True where any fault can happen."""
        return any(getattr(self, name) for name in FAULTS)

    @property
    def faults(self) -> "Faults":
        """Faults alone, of a value that holds more."""
        return Faults(**{name: float(getattr(self, name)) for name in FAULTS})


FAULTS = tuple(item.name for item in fields(Faults))
"""Names of the faults."""
