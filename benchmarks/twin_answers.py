"""Columns that the baselines of ``atoms-2d`` and ``atoms-2d@2`` find in a measured micrograph and in its simulation by the twin."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import load_baselines, make_entry
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.families.atoms import GATE, GATE_OF_NEIGHBOUR
from stemtwin.benchmarks.families.atoms_v2 import SURE
from stemtwin.benchmarks.matching import match, nearest_distance
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.physics.aberrations import Aberrations, add
from stemtwin.twin.physics.electrons import ELEMENTARY_CHARGE

COUNTS, READINGS = "atoms-2d", "atoms-2d@2"
"""Tasks of the baselines. Those of the first receive electron counts, those of the second receive the readings of the detector's converter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinConditions:
    """Conditions of the twin that are not fitted.

    Parameters
    ----------
    instrument : str
        Name of the instrument profile that provides the residual aberrations.
    energy_ev, semiangle_mrad, inner_mrad, outer_mrad : float
        Beam energy, convergence semi-angle, and inner and outer angle of the dark-field detector.
    C10_angstrom : float
        Aberration coefficient C10, which is the negative of the defocus, A.
    dwell_time_us : float
        Dwell time at each pixel, us. It converts the drift per line to a drift per second, and the correlation along lines to a lag time.
    seed : int
        Seed of thermal motion, noise and line offsets.
    """

    instrument: str
    energy_ev: float
    semiangle_mrad: float
    inner_mrad: float
    outer_mrad: float
    C10_angstrom: float = 0.0
    dwell_time_us: float = 10.0
    seed: int = 0

    def detector(self) -> AnnularDetector:
        """Return the dark-field detector."""
        return AnnularDetector(inner_mrad=self.inner_mrad, outer_mrad=self.outer_mrad, name="haadf")

    def aberrations(self) -> Aberrations:
        """Return the aberrations of the probe."""
        return add(Aberrations(C10=self.C10_angstrom), PROFILES[self.instrument].residual)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownColumns:
    """Known columns of a fitted window, and the place of the window in the square that baselines receive.

    Parameters
    ----------
    places, asked : ndarray
        (n, 2) positions x, y in the window, px; (n,) True for columns that ``atoms-2d`` would score.
    corner, shape : tuple of int
        First row and column of the window in the square, px; height and width of the window, px.
    """

    places: np.ndarray
    asked: np.ndarray
    corner: tuple[int, int]
    shape: tuple[int, int]


def answer_both(
    known: KnownColumns,
    square: np.ndarray,
    again: np.ndarray,
    knobs: dict[str, float],
    conditions: TwinConditions,
    step: float,
) -> dict[str, dict[str, Any]]:
    """Return the answers of all baselines of ``atoms-2d`` and ``atoms-2d@2``, except oracles, to a measured image and to its simulation by the twin.

    ``square`` and ``again`` are the grey values of the image and of its simulation. All baselines receive the nominal conditions. Baselines of
    ``atoms-2d`` also receive electron counts, computed from the grey values with the fitted gain and offset. Baselines of ``atoms-2d@2`` receive the
    grey values themselves, with this gain and offset. Columns are known only inside the fitted window of ``known``. Points in this window with a
    confidence of at least 0.5 are matched to the known columns.

    Returns
    -------
    dict
        Result of each baseline, by its full name. ``columns`` is the number of known columns that ``atoms-2d`` would score, and ``faint_columns`` is
        the number of the other known columns. ``measured`` (image) and ``twin`` (simulation) contain the numbers of points at scored columns, at
        faint columns and elsewhere in the window, the rms distance between points and scored columns [A], and the positions of all points with a
        confidence of at least 0.5 [A] (n, 2). The result of a skipped baseline contains only the reason.
    """
    registry = load_baselines()
    asked, origin = known.asked, np.array(known.corner[::-1])
    truth = (known.places + origin) * step
    low, high = origin * step, (origin + known.shape[::-1]) * step
    gates = np.minimum(GATE, GATE_OF_NEIGHBOUR * nearest_distance(truth, truth))
    out: dict[str, dict[str, Any]] = {}
    for name in (*registry.names(COUNTS), *registry.names(READINGS)):
        entry = registry[name]
        if entry.oracle:
            continue
        try:
            predictor = make_entry(entry, "predictions")
            given = {key: _given(entry.task, grey, knobs, conditions, step) for key, grey in (("measured", square), ("twin", again))}
            found = {key: _sure(predictor.predict(one, np.random.default_rng(0))) for key, one in given.items()}
        except SettingsError as error:  # a package that it needs is not installed
            out[name] = {"skipped": str(error)}
            continue
        out[name] = {"columns": int(asked.sum()), "faint_columns": int((~asked).sum())}
        for key, positions in found.items():
            inside = positions[np.all((positions >= low - step / 2) & (positions < high - step / 2), axis=1)]
            hits, columns, distances = match(inside, truth, gates)
            right = asked[columns]
            rms = float(np.sqrt((distances[right] ** 2).mean())) if right.any() else None
            counts = {"found": int(right.sum()), "at_faint": int((~right).sum()), "elsewhere": len(inside) - len(hits), "rms_angstrom": rms}
            out[name][key] = counts | {"positions": positions.tolist()}
    return out


def _sure(points: Points) -> np.ndarray:
    """Return the positions (n, 2) of the points with a confidence of at least 0.5, or of all points without confidences, A."""
    return points.positions if points.confidence is None else points.positions[points.confidence >= SURE]


def _given(task: str, grey: np.ndarray, knobs: dict[str, float], conditions: TwinConditions, step: float) -> dict[str, Any]:
    """Return the inputs of a task: counts or readings, and nominal conditions."""
    values = (grey - knobs["offset_adu"]) / knobs["gain_adu"] if task == COUNTS else grey
    current = knobs["electrons_per_pixel"] * ELEMENTARY_CHARGE / (conditions.dwell_time_us * 1e-6) * 1e12
    given = {
        "image": np.clip(np.round(values), 0, np.iinfo(np.uint16).max).astype(np.uint16),
        "sampling_angstrom": step,
        "energy_ev": conditions.energy_ev,
        "semiangle_mrad": conditions.semiangle_mrad,
        "current_pa": current,
        "dwell_time_us": conditions.dwell_time_us,
        "dose_e_per_angstrom2": knobs["dose_e_per_angstrom2"],
    }
    detector = {"inner_mrad": conditions.inner_mrad, "outer_mrad": conditions.outer_mrad, "instrument": conditions.instrument}
    return given if task == COUNTS else given | detector | {"gain_adu": knobs["gain_adu"], "offset_adu": knobs["offset_adu"]}
