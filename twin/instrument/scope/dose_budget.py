"""Dose budget: the largest nominal dose that a specimen has received anywhere, and the dose that remains up to a limit.

The user is allowed to know both doses.
"""

import math

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope.dose_map import DoseMap
from stemtwin.twin.instrument.scope.state import ScopeState

PITCH_ANGSTROM = 1.0
"""Least side of the squares over which doses are averaged, A."""
MOST_SQUARES = 512
"""Largest number of squares along a side; larger areas have wider squares."""

Box = tuple[float, float, float, float]
"""A rectangle (x0, y0, x1, y1), A."""


def largest_dose(dose: DoseMap, box: Box | None = None) -> float:
    """Return the largest dose, e-/A^2, in a rectangle. If no rectangle is given, return the largest dose on the whole map.

    The dose is averaged over squares with a side of 1 A or more.
    """
    box = dose.extent_angstrom if box is None else box
    if box is None:
        return 0.0
    x0, y0, x1, y1 = box
    pitch = max(PITCH_ANGSTROM, (x1 - x0) / MOST_SQUARES, (y1 - y0) / MOST_SQUARES)
    shape = (max(1, math.ceil((y1 - y0) / pitch)), max(1, math.ceil((x1 - x0) / pitch)))
    return float(dose.sample((x0 + pitch / 2, y0 + pitch / 2), shape, (pitch, pitch)).max())


def checked(budget: float | None) -> float | None:
    """Return a budget, e-/A^2, as a float, or None for no budget; raise SettingsError unless it is above 0."""
    return None if budget is None else checks.number("dose_budget_e_per_angstrom2", budget, "e-/A^2", above=0)


def remaining(state: ScopeState, budget: float | None) -> float:
    """Return the dose, e-/A^2, that remains of the budget at the position of the largest dose.

    The result is infinite without a budget.
    """
    return math.inf if budget is None else max(0.0, budget - largest_dose(state.sent.map()))


def check_flood(state: ScopeState, dose: float, budget: float | None) -> None:
    """Raise InstrumentError if a uniform dose, e-/A^2, on the whole specimen would exceed the dose budget anywhere.

    Raises
    ------
    InstrumentError
        The dose exceeds the rest of the budget.
    """
    left = remaining(state, budget)
    if dose > left:
        message = f"A shower of {dose:.4g} e-/A^2 exceeds the dose that remains in the budget, {left:.4g} e-/A^2. Use a smaller dose_e_per_angstrom2."
        raise InstrumentError(message)


def check(state: ScopeState, scan: Scan, dose: float, budget: float | None) -> None:
    """Raise InstrumentError if a scan would exceed the dose budget anywhere in its field.

    Parameters
    ----------
    state : ScopeState
        State before the scan.
    scan : Scan
        The scan.
    dose : float
        Dose of the scan, e-/A^2.
    budget : float, optional
        Budget, e-/A^2.

    Raises
    ------
    InstrumentError
        The dose exceeds the rest of the budget in the field.
    """
    if budget is None or not dose:
        return
    stage, points = state.stage.readback, scan.points()
    points = points + np.array(state.knobs.beam_shift_angstrom) - np.array([stage.x_angstrom, stage.y_angstrom])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    before = largest_dose(state.sent.map(), (x0, y0, x1, y1))
    if before + dose > budget:
        message = (
            f"This scan adds {dose:.4g} e-/A^2 to its field, which has received up to {before:.4g} e-/A^2. The sum is beyond the budget of "
            f"{budget:.4g} e-/A^2. "
            "Use a lower current_pa, a shorter dwell_time_us, fewer frames, a wider field, or another position."
        )
        raise InstrumentError(message)
