"""Averages over a crystal's lattice translations, turns and mirrors: which requests have them, and how many phonon configurations they take."""

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
"""Configurations that tell the error of their mean."""
ROUND = 32
"""Points along the radius of a detector at which its directions are compared."""
ALIKE = 1e-3
"""Weights of a round detector differ by at most this, relative to the largest: pixels at its edge are covered to single precision."""


def average_of(request: Request) -> LatticeAverage | None:
    """Return the average over lattice translations that a request has from an engine that gives it, or None.

    With ``lattice_average="auto"`` only the mean of ``phonons="auto"`` is averaged: a number of configurations is the mean of these, as they are.
    ``phonons="auto"`` then begins with the configurations whose columns are as many as those of 8 without the average.

    Raises
    ------
    SettingsError
        The average is asked for by True, and the sample is not a perfect crystal.
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
        moves = "translation, turn or mirror" if request.lattice_average == POINT_GROUP else "translation"
        message = (
            f"lattice_average={request.lattice_average!r} needs a perfect crystal, and no {moves} inside the cell leaves every atom of "
            f"{request.sample.name} within {TOLERANCE:g} A of its like. Use 'auto' or False, or a cell (size_angstrom) of several crystal cells."
        )
        raise SettingsError(message)
    alike = translations.count * max(len(turns), 1)
    least = min(most, max(FEWEST, math.ceil(most / alike))) if automatic else most
    return LatticeAverage(translations=translations, least=least, most=most, turns=turns)


def _turns(request: Request) -> tuple[PlaneSymmetry, ...]:
    """Return the turns and mirrors that a request is averaged over: those of the sample that leave the request's grid as it is."""
    if request.lattice_average != POINT_GROUP:
        return ()
    assert isinstance(request.sample, Sample)  # it has thermal motion
    if any((*request.tilt_mrad, *request.beam.beam_tilt_mrad)):
        message = (
            f"lattice_average={POINT_GROUP!r} turns the probe, not tilts, and tilt_mrad={request.tilt_mrad} and "
            f"beam_tilt_mrad={request.beam.beam_tilt_mrad} are given. Use True, or leave the tilts out."
        )
        raise SettingsError(message)
    square = all(
        pair is None or not isinstance(pair, tuple) or pair[0] == pair[1] for pair in (request.grid, request.sampling_angstrom, request.blocks)
    )
    return tuple(turn for turn in point_group(request.sample) if square or not turn.swaps)


def check_round(average: LatticeAverage | None, detectors: Sequence[Detector], wavelength: float) -> None:
    """Refuse an average over turns of the probe for detectors that are not the same behind each of them.

    Raises
    ------
    SettingsError
        A detector has directions.
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
                    f"lattice_average={POINT_GROUP!r} turns the probe, and detector {detector.name!r} is not the same in all directions. "
                    "Use True, or round detectors."
                )
                raise SettingsError(message)


def check_without_turns(request: Request, what: str) -> None:
    """Refuse an average over turns of the probe for results that are not images.

    Raises
    ------
    SettingsError
        It is asked for.
    """
    if request.lattice_average == POINT_GROUP:
        message = f"lattice_average={POINT_GROUP!r} averages images, and {what} have directions of their own or are not averaged so. Use True."
        raise SettingsError(message)


def configurations(request: Request) -> int:
    """Return the number of phonon configurations that an engine with the average is planned with."""
    found = average_of(request)
    return request.configurations if found is None else found.least


def check_unaveraged(request: Request, engine: str) -> None:
    """Refuse an average that is asked for by name for an engine that computes points of its own scan only.

    Raises
    ------
    SettingsError
        It is asked for, and thermal motion makes it matter.
    """
    if request.asks_for_average and request.thermal_motion == "frozen":
        message = (
            f"lattice_average={request.lattice_average!r} averages over images of whole cells, and engine={engine!r} has none. "
            "Use engine='operator', or 'auto'."
        )
        raise SettingsError(message)


def _and_turns(average: LatticeAverage | MeasuredAverage) -> str:
    """Return the part of a sentence that names the turns and mirrors of an average."""
    return f" and the {len(average.turns)} turns and mirrors of its point group" if average.turns else ""


def planned(average: LatticeAverage) -> str:
    """Return the note of a plan with an average."""
    text = f"a perfect crystal: averaged over its {average.translations.count} lattice translations in the cell{_and_turns(average)}"
    if average.least == average.most:
        return text
    return (
        f"{text}, {average.least} phonon configurations or more, up to {average.most}, until their error is that of {average.most} "
        "without the average: measured as they come"
    )


def measured(configurations: int, average: MeasuredAverage, error: float) -> str:
    """Return the account of an average, given its configurations and the largest relative standard error of a channel."""
    text = f"{configurations} phonon configuration{'s' * (configurations > 1)} averaged over {average.translations.count} lattice translations"
    text += _and_turns(average)
    if not error >= 0:
        return text
    plain = float(average.plain_error.max())
    return f"{text}: standard error {error:.2%} of the mean signal, that of {average.compared} without the average {plain:.2%}"
