"""Everything that changes in a microscope, as one frozen value: keeping it is a snapshot, putting it back a restore."""

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
    """The field that the scan coils were set to.

    Parameters
    ----------
    centre_angstrom, field_of_view_angstrom : tuple of float
        Middle (x, y), A; height and width, A.
    before : FieldChange, optional
        The field before, and when it changed.
    """

    centre_angstrom: tuple[float, float]
    field_of_view_angstrom: tuple[float, float]
    before: FieldChange | None = None

    def changed(self, scan: Scan, time_s: float) -> Self:
        """Return the field of a scan that begins at a time, s."""
        centre, size = scan.centre_angstrom, scan.field_of_view_angstrom
        if (centre, size) == (self.centre_angstrom, self.field_of_view_angstrom):
            return self
        old = FieldChange(time_s=time_s, centre_angstrom=self.centre_angstrom, field_of_view_angstrom=self.field_of_view_angstrom)
        return replace(self, centre_angstrom=centre, field_of_view_angstrom=size, before=old)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The window that images are computed in: room for the probe, and for what it is going to grow to.

    Parameters
    ----------
    window_angstrom : float
        Its side, A.
    since_s : float
        Since when, s.
    ahead_angstrom : float
        The last window that was looked ahead for, A.
    outgrown_angstrom : float
        The window that turned knobs have outgrown, A: where it suffices, it is taken again.
    """

    window_angstrom: float
    since_s: float
    ahead_angstrom: float = 0.0
    outgrown_angstrom: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScopeState:
    """The state of a microscope; what else it does is a pure function of this, its seed and its profile.

    Parameters
    ----------
    specimen : Sample or PotentialSlices
        Where the atoms are now.
    knobs : Knobs
        What was commanded.
    made_of : tuple
        What the microscope was made of, see ``Setup.made_of``: the state is good for such a one alone.
    scanned : ScanField, optional
        What the scan coils were last set to.
    stage : StageState
        Where the stage is.
    creep : Creep
        How the specimen still moves because the stage was moved.
    corrected : Aberrations
        What corrections have changed, A and rad.
    time_s : float
        The simulated clock, s.
    beam_s : float
        Time with the beam on the specimen, s.
    electrons : float
        Electrons sent into the specimen.
    dose : DoseMap
        Where they truly went on the specimen.
    sent : Ledger
        Where they were sent.
    matter : Matter, optional
        The specimen's sites and what became of them, where the beam can change it.
    room : Room, optional
        The window of the last image.
    last : LastPass, optional
        The last pass over a scan: its expected signals are a part of the truth.
    lineage : tuple
        The images for which a local operator was brought up to date, as requests and plans: from these it can be made again, to the same bits.
    frames, moves, measurements, exposures : int
        How many were done: the keys of their random numbers.
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
