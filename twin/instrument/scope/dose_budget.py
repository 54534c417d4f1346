"""Dose budget: the doses of a specimen by place, and the rest of a budget; these are nominal doses, which an operator may know."""

import math

import numpy as np

from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope.dose_map import DoseMap
from stemtwin.twin.instrument.scope.state import ScopeState

PITCH_ANGSTROM = 1.0
"""Doses are means over squares at least this wide, A."""
MOST_SQUARES = 512
"""Squares along a side; of larger areas they are wider."""

Box = tuple[float, float, float, float]
"""A rectangle (x0, y0, x1, y1), A."""


def largest_dose(dose: DoseMap, box: Box | None = None) -> float:
    """Return the largest mean dose in any square of 1 A or more, e-/A^2, in a rectangle or anywhere."""
    box = dose.extent_angstrom if box is None else box
    if box is None:
        return 0.0
    x0, y0, x1, y1 = box
    pitch = max(PITCH_ANGSTROM, (x1 - x0) / MOST_SQUARES, (y1 - y0) / MOST_SQUARES)
    shape = (max(1, math.ceil((y1 - y0) / pitch)), max(1, math.ceil((x1 - x0) / pitch)))
    return float(dose.sample((x0 + pitch / 2, y0 + pitch / 2), shape, (pitch, pitch)).max())


def remaining(state: ScopeState, budget: float | None) -> float:
    """Return the rest of a budget (e-/A^2) where the specimen has received most; infinite without a budget."""
    return math.inf if budget is None else max(0.0, budget - largest_dose(state.sent.map()))


def check_flood(state: ScopeState, dose: float, budget: float | None) -> None:
    """Refuse a dose (e-/A^2) on the whole specimen that would exceed the budget where it has received most.

    Raises
    ------
    InstrumentError
        It would.
    """
    left = remaining(state, budget)
    if dose > left:
        message = f"A shower of {dose:.4g} e-/A^2 exceeds what is left of the dose budget, {left:.4g} e-/A^2. Use a smaller dose_e_per_angstrom2."
        raise InstrumentError(message)


def check(state: ScopeState, scan: Scan, dose: float, budget: float | None) -> None:
    """Refuse a scan that would exceed the budget somewhere in its field.

    Parameters
    ----------
    state : ScopeState
        Before it.
    scan : Scan
        Where it would go.
    dose : float
        What it would add, e-/A^2.
    budget : float, optional
        e-/A^2.

    Raises
    ------
    InstrumentError
        It would.
    """
    if budget is None or not dose:
        return
    stage, points = state.stage.readback, scan.points()
    points = points + np.array(state.knobs.beam_shift_angstrom) - np.array([stage.x_angstrom, stage.y_angstrom])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    before = largest_dose(state.sent.map(), (x0, y0, x1, y1))
    if before + dose > budget:
        message = (
            f"This scan adds {dose:.4g} e-/A^2 to a field that has received up to {before:.4g}, beyond the budget of {budget:.4g} e-/A^2. "
            "Use less current_pa, a shorter dwell_time_us, fewer frames, a wider field, or another place."
        )
        raise InstrumentError(message)
