"""Averages over a crystal's lattice translations: which requests have them, and how many phonon configurations they take."""

import math

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.simulation.request import AUTO, Request
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage, MeasuredAverage
from stemtwin.twin.samples.lattice_translations import TOLERANCE, lattice_translations
from stemtwin.twin.samples.sample import Sample

FEWEST = 2
"""Configurations that tell the error of their mean."""


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
    if request.lattice_average is not True and not automatic:
        return None
    assert isinstance(request.sample, Sample)  # it has thermal motion
    translations, most = lattice_translations(request.sample), request.configurations
    if translations.count == 1:
        if request.lattice_average is not True:
            return None
        message = (
            f"lattice_average=True needs a perfect crystal, and no translation inside the cell leaves every atom of {request.sample.name} within "
            f"{TOLERANCE:g} A of its like. Use 'auto' or False, or a cell (size_angstrom) of several crystal cells."
        )
        raise SettingsError(message)
    least = min(most, max(FEWEST, math.ceil(most / translations.count))) if automatic else most
    return LatticeAverage(translations=translations, least=least, most=most)


def configurations(request: Request) -> int:
    """Return the number of phonon configurations that an engine with the average is planned with."""
    found = average_of(request)
    return request.configurations if found is None else found.least


def check_unaveraged(request: Request, engine: str) -> None:
    """Refuse ``lattice_average=True`` for an engine that computes points of its own scan only.

    Raises
    ------
    SettingsError
        It is asked for, and thermal motion makes it matter.
    """
    if request.lattice_average is True and request.thermal_motion == "frozen":
        message = f"lattice_average=True averages over images of whole cells, and engine={engine!r} has none. Use engine='operator', or 'auto'."
        raise SettingsError(message)


def planned(average: LatticeAverage) -> str:
    """Return the note of a plan with an average."""
    text = f"a perfect crystal: averaged over its {average.translations.count} lattice translations in the cell"
    if average.least == average.most:
        return text
    return (
        f"{text}, {average.least} phonon configurations or more, up to {average.most}, until their error is that of {average.most} "
        "without the average: measured as they come"
    )


def measured(configurations: int, average: MeasuredAverage, error: float) -> str:
    """Return the account of an average, given its configurations and the largest relative standard error of a channel."""
    text = f"{configurations} phonon configuration{'s' * (configurations > 1)} averaged over {average.translations.count} lattice translations"
    if not error >= 0:
        return text
    plain = float(average.plain_error.max())
    return f"{text}: standard error {error:.2%} of the mean signal, that of {average.compared} without the average {plain:.2%}"
