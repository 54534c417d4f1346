"""Averages over a crystal's translations, rotations and mirrors, and the number of phonon configurations that they need."""

import math
from collections.abc import Sequence

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.simulation.request import AUTO, POINT_GROUP, Request
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage, MeasuredAverage
from stemtwin.twin.physics.engine.operator.point_group import PlaneSymmetry
from stemtwin.twin.samples.lattice_translations import TOLERANCE, lattice_translations, point_group
from stemtwin.twin.samples.sample import Sample

FEWEST = 2
"""Smallest number of configurations that determines the error of their mean."""
ROUND = 32
"""Points along the radius of a detector at which its directions are compared."""
ALIKE = 1e-3
"""Largest difference between the weights of a round detector after a rotation, divided by the largest weight.

It is not zero because pixels at the edge are covered to single precision.
"""


def average_of(request: Request) -> LatticeAverage | None:
    """Return the average over lattice translations that applies to a request, or None.

    If ``phonons`` is a number, only an explicitly requested average applies, and this number of configurations is computed.
    If an average applies to ``phonons="auto"``, the computation begins with the smallest number of configurations, at least
    2, that together contain 8 or more symmetry-equivalent copies of each point of the image. Without an average, 8
    configurations are computed.

    Raises
    ------
    SettingsError
        The average is requested explicitly, and the sample is not a perfect crystal.
    """
    if request.lattice_average is False or request.thermal_motion != "frozen":
        return None
    automatic = request.phonons == AUTO
    if not request.asks_for_average and not automatic:
        return None
    assert isinstance(request.sample, Sample)  # it has thermal motion
    translations, turns, most = lattice_translations(request.sample), _turns(request), request.configurations
    if translations.count == 1 and len(turns) < FEWEST:
        if not request.asks_for_average:
            return None
        moves = "translation, rotation or mirror" if request.lattice_average == POINT_GROUP else "translation"
        message = (
            f"lattice_average={request.lattice_average!r} needs a perfect crystal, but no {moves} inside the cell maps every atom of "
            f"{request.sample.name} to within {TOLERANCE:g} A of an equal atom. Use 'auto' or False, or a cell (size_angstrom) of several unit cells."
        )
        raise SettingsError(message)
    alike = translations.count * max(len(turns), 1)
    least = min(most, max(FEWEST, math.ceil(most / alike))) if automatic else most
    return LatticeAverage(translations=translations, least=least, most=most, turns=turns)


def _turns(request: Request) -> tuple[PlaneSymmetry, ...]:
    """Return the rotations and mirrors of an average: those of the sample that map the request's grid onto itself."""
    if request.lattice_average != POINT_GROUP:
        return ()
    assert isinstance(request.sample, Sample)  # it has thermal motion
    if any((*request.tilt_mrad, *request.beam.beam_tilt_mrad)):
        message = (
            f"lattice_average={POINT_GROUP!r} does not support tilts, but tilt_mrad={request.tilt_mrad} and "
            f"beam_tilt_mrad={request.beam.beam_tilt_mrad} are given. Use lattice_average=True, or omit the tilts."
        )
        raise SettingsError(message)
    square = all(
        pair is None or not isinstance(pair, tuple) or pair[0] == pair[1] for pair in (request.grid, request.sampling_angstrom, request.blocks)
    )
    return tuple(turn for turn in point_group(request.sample) if square or not turn.swaps)


def check_round(average: LatticeAverage | None, detectors: Sequence[Detector], wavelength: float) -> None:
    """Refuse an average over rotations and mirrors if these operations change a detector.

    Raises
    ------
    SettingsError
        A detector is not the same in all directions.
    """
    if average is None or not average.turns:
        return
    for detector in detectors:
        step = 1.05 * detector.outer_mrad * 1e-3 / wavelength / ROUND
        k, pixel = (np.arange(2 * ROUND) - ROUND + 0.5) * step, (step, step)
        ky, kx = np.meshgrid(k, k, indexing="ij")
        weights = detector.weights(ky, kx, pixel, wavelength, antialias=True)
        for turn in average.turns:
            turned = detector.weights(*turn.sources(ky, kx), pixel, wavelength, antialias=True)
            if np.abs(turned - weights).max() > ALIKE * np.abs(weights).max():
                message = (
                    f"lattice_average={POINT_GROUP!r} needs round detectors, but detector {detector.name!r} is not the same in all directions. "
                    "Use lattice_average=True, or round detectors."
                )
                raise SettingsError(message)


def check_without_turns(request: Request, what: str) -> None:
    """Refuse an average over rotations and mirrors for results that are not images; ``what`` names the results, in the plural.

    Raises
    ------
    SettingsError
        The request asks for this average.
    """
    if request.lattice_average == POINT_GROUP:
        message = f"lattice_average={POINT_GROUP!r} averages images only, not {what}. Use lattice_average=True."
        raise SettingsError(message)


def configurations(request: Request) -> int:
    """Return the number of phonon configurations for estimates of time and memory before a computation.

    If a lattice average applies to the request, the number is the one with which the computation begins, and the computation
    can use more. Otherwise it is the number in the request.
    """
    found = average_of(request)
    return request.configurations if found is None else found.least


def check_unaveraged(request: Request, engine: str) -> None:
    """Refuse an explicitly requested average for an engine that computes only the points of the scan.

    Raises
    ------
    SettingsError
        The average is requested, and the sample has frozen phonons.
    """
    if request.asks_for_average and request.thermal_motion == "frozen":
        message = (
            f"lattice_average={request.lattice_average!r} averages images of whole cells, which engine={engine!r} does not compute. "
            "Use engine='operator', or 'auto'."
        )
        raise SettingsError(message)


def _and_turns(average: LatticeAverage | MeasuredAverage) -> str:
    """Return the part of a sentence about the rotations and mirrors of an average."""
    return f" and the {len(average.turns)} rotations and mirrors of its point group" if average.turns else ""


def planned(average: LatticeAverage) -> str:
    """Return a note for the plan of a simulation: the translations and phonon configurations of its lattice average."""
    text = f"a perfect crystal: averaged over its {average.translations.count} lattice translations in the cell{_and_turns(average)}"
    if average.least == average.most:
        return text
    return (
        f"{text}, with {average.least} to {average.most} phonon configurations, until the measured error is that of {average.most} "
        "without the average"
    )


def measured(configurations: int, average: MeasuredAverage, error: float) -> str:
    """Return a sentence with the configurations, the translations and the standard error of a computed average.

    ``error`` is the largest relative standard error of a detector channel; NaN omits the errors from the sentence.
    """
    text = f"{configurations} phonon configuration{'s' * (configurations > 1)} averaged over {average.translations.count} lattice translations"
    text += _and_turns(average)
    if not error >= 0:
        return text
    plain = float(average.plain_error.max())
    return f"{text}: standard error {error:.2%} of the mean signal, compared with {plain:.2%} for {average.compared} without the average"
