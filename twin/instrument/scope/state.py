"""Variable state of a microscope as one frozen value, which serves as a snapshot."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

from stemtwin.twin.instrument.hardware.drift import Creep
from stemtwin.twin.instrument.hardware.scan_distortion import FieldChange
from stemtwin.twin.instrument.hardware.stage import StageState
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope.dose_log import Ledger
from stemtwin.twin.instrument.scope.dose_map import DoseMap
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.last_pass import LastPass
from stemtwin.twin.instrument.scope.specimen_state import Matter
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanField:
    """Field of view of a scan, with its last change.

    Parameters
    ----------
    centre_angstrom, field_of_view_angstrom : tuple of float
        Middle (x, y), A, and size (height, width), A.
    before : FieldChange, optional
        Last change of the field.
    """

    centre_angstrom: tuple[float, float]
    field_of_view_angstrom: tuple[float, float]
    before: FieldChange | None = None

    def changed(self, scan: Scan, time_s: float) -> Self:
        """Return the field of a scan that starts at the time ``time_s``, s.

        If it differs from the present field, the present field and the time are recorded in ``before``.
        """
        centre, size = scan.centre_angstrom, scan.field_of_view_angstrom
        if (centre, size) == (self.centre_angstrom, self.field_of_view_angstrom):
            return self
        old = FieldChange(time_s=time_s, centre_angstrom=self.centre_angstrom, field_of_view_angstrom=self.field_of_view_angstrom)
        return replace(self, centre_angstrom=centre, field_of_view_angstrom=size, before=old)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Window in which images are computed, with room for the growth of the probe.

    Parameters
    ----------
    window_angstrom : float
        Side of the window, A.
    since_s : float
        Time at which the window was chosen, s.
    ahead_angstrom : float
        Side of the last window that was chosen for a predicted probe, A.
    outgrown_angstrom : float
        Side of the window that became too small after a change of knobs, A. This window is used again once the probe
        fits into it.
    """

    window_angstrom: float
    since_s: float
    ahead_angstrom: float = 0.0
    outgrown_angstrom: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScopeState:
    """State of a microscope; all results are pure functions of the state, the seed and the profile.

    Parameters
    ----------
    specimen : Sample or PotentialSlices
        Present specimen.
    knobs : Knobs
        Commanded settings.
    made_of : tuple
        Description of the microscope by ``Setup.made_of``; the state is valid only for an equal microscope.
    scanned : ScanField, optional
        Field of view of the last scan, and its last change.
    stage : StageState
        State of the stage.
    creep : Creep
        Creep of the specimen after stage moves.
    corrected : Aberrations
        Sum of all corrections, A and rad.
    time_s : float
        Time on the simulated clock, s.
    beam_s : float
        Time with the beam on the specimen, s.
    electrons : float
        Number of electrons sent into the specimen.
    dose : DoseMap
        Dose at the true positions on the specimen.
    sent : Ledger
        Dose log at the commanded positions.
    matter : Matter, optional
        Sites of a specimen that the beam can change, with past events.
    room : Room, optional
        Side of the probe window of the last image, and the time when the window was chosen. The probe window is the square
        of the specimen that contains the probe.
    last : LastPass, optional
        Last pass over a scan, whose expected signals are hidden truth.
    lineage : tuple
        Requests and plans of past images that were computed with a local operator. A bit-identical operator can be
        rebuilt from them.
    frames, moves, measurements, exposures : int
        Numbers of past frames, moves, measurements and exposures, from which the seeds of their random numbers follow.
    """

    specimen: Sample | PotentialSlices
    knobs: Knobs
    made_of: tuple[tuple[str, Any], ...] = ()
    scanned: ScanField | None = None
    stage: StageState = field(default_factory=StageState)
    creep: Creep = field(default_factory=Creep)
    corrected: Aberrations = field(default_factory=Aberrations)
    time_s: float = 0.0
    beam_s: float = 0.0
    electrons: float = 0.0
    dose: DoseMap = field(default_factory=DoseMap)
    sent: Ledger = field(default_factory=Ledger)
    matter: Matter | None = None
    room: Room | None = None
    last: LastPass | None = None
    lineage: tuple[tuple[Request, Plan], ...] = ()
    frames: int = 0
    moves: int = 0
    measurements: int = 0
    exposures: int = 0
