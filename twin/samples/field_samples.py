"""Samples that cover a field of view, from a structure file or the library."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stemtwin.twin.errors import SettingsError, StructureFileError, UnknownNameError, closest
from stemtwin.twin.samples.library import SAMPLES, list_samples, load_sample
from stemtwin.twin.samples.readers.read_sample import read_sample
from stemtwin.twin.samples.sample import Sample, resolve_sigma

MARGIN_ANGSTROM = 8.0
"""Width of the margin around the field where a structure is cut out of a larger one and is not periodic."""

SIDE_ANGSTROM = 16.0
"""Side of a field of view where none is requested."""

LONGER = (1.0, 1.5, 2.25)
"""Sizes at which repeating cells are searched, as multiples of the window's side, each 1.5 times the one before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldSample:
    """A sample that covers a field of view.

    Parameters
    ----------
    sample : Sample
        The atoms.
    origin_angstrom : tuple of float
        Corner of the field on the sample (x, y), A.
    notes : tuple of str
        Changes that were made to the structure.
    """

    sample: Sample
    origin_angstrom: tuple[float, float]
    notes: tuple[str, ...]

    @property
    def area(self) -> float:
        """Area of the sample across the beam, A^2."""
        return math.prod(self.sample.size_angstrom)


def usual_side(source: str) -> float:
    """Return the default side of the field of view, A.

    For a particle of the library, it is the side that the particle needs. For every other source it is 16 A.
    """
    if Path(source).exists() or source not in SAMPLES.names("particle"):
        return SIDE_ANGSTROM
    return float(max(SIDE_ANGSTROM, *load_sample(source).size_angstrom))


def load_field(source: str, *, side_angstrom: float, **settings: Any) -> FieldSample:
    """Load the smallest sample that covers a square field of view; see :func:`load_fields`."""
    return min(load_fields(source, side_angstrom=side_angstrom, **settings), key=lambda field: field.area)


def load_fields(
    source: str,
    *,
    side_angstrom: float,
    margin_angstrom: float = MARGIN_ANGSTROM,
    thickness_angstrom: float | None = None,
    zone_axis: tuple[int, ...] | str | None = None,
    thermal_sigma_angstrom: float | Mapping[str, float] | None = None,
    block: str | None = None,
    seed: int = 0,
) -> tuple[FieldSample, ...]:
    """Load the alternative samples that cover a square field of view.

    A library name gives one sample. A file gives one periodic sample if one about as large as the field exists. Otherwise it gives a window cut from
    the crystal without strain (the field with a margin) and, if they exist, a periodic sample longer than the field along y and one longer along x.
    If neither of these two exists, a periodic sample longer along both axes, if one exists, takes their place. The window is the last sample.

    Parameters
    ----------
    source : str
        A structure file, or the name of a library sample where no such file exists.
    side_angstrom : float
        Side of the field, A.
    margin_angstrom : float
        Width of the margin around a window, A; it should be as large as the reach of the probe.
    thickness_angstrom : float, optional
        Thickness along the beam, A.
    zone_axis : tuple of int or str, optional
        Lattice direction along the beam, for files only; None: [001].
    thermal_sigma_angstrom : float or mapping, optional
        1-D rms displacement (A) of all atoms or of each element; 0: static.
    block : str, optional
        Name or number of the structure in a file that holds several structures.
    seed : int
        Seed of the random choice of atoms on partly filled sites, and of dopants.

    Raises
    ------
    UnknownNameError, StructureFileError
        The file does not exist and a library sample has a similar name, or the file cannot be read.
    SettingsError
        A zone axis or a block is given for a library sample.
    """
    if not Path(source).exists() and source in list_samples():
        if block is not None or zone_axis is not None:
            given, value = ("block", block) if block is not None else ("zone_axis", zone_axis)
            message = f"{source} is a library sample with a fixed zone axis. Leave out {given}={value}."
            raise SettingsError(message)
        return (_of_library(source, side_angstrom, thickness_angstrom, thermal_sigma_angstrom, seed),)
    _check_exists(source)

    axis = (0, 0, 1) if zone_axis is None else zone_axis
    settings: dict[str, Any] = {"thickness_angstrom": thickness_angstrom, "thermal_sigma_angstrom": thermal_sigma_angstrom, "seed": seed}

    def read(height: float, width: float, *, periodic: bool = True) -> Sample:
        return read_sample(source, zone_axis=axis, size_angstrom=(height, width), block=block, periodic=periodic, **settings)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the sample's notes hold all of these warnings
        return _of_file(read, side_angstrom, margin_angstrom)


def _check_exists(source: str) -> None:
    """Raise UnknownNameError for a missing file whose name resembles that of a library sample."""
    near = None if Path(source).exists() else closest(source, list_samples())
    if near is not None:
        message = f"There is neither a file nor a sample named {source!r}. Did you mean {near!r}?"
        raise UnknownNameError(message)


def _of_library(name: str, side: float, thickness: float | None, sigma: float | Mapping[str, float] | None, seed: int) -> FieldSample:
    """Return a library sample, with the given thermal motion if one is given."""
    sample = load_sample(name, size_angstrom=(side, side), thickness_angstrom=thickness, seed=seed)
    if sigma is not None:
        sample = replace(sample, thermal_sigma_angstrom=resolve_sigma(sample.numbers, sigma))
    return _field(sample, 0.0)


def _of_file(read: Callable[..., Sample], side: float, margin: float) -> tuple[FieldSample, ...]:
    """Return the samples of a file; ``read(height, width, periodic=...)`` reads the file at a size, A."""
    near = _repeating(read, side, side)
    if near is not None:
        return (_field(near, 0.0),)
    whole = side + 2 * margin
    return (*(_field(cell, 0.0) for cell in _cells(read, side, whole)), _field(read(whole, whole, periodic=False), margin))


def _cells(read: Callable[..., Sample], side: float, whole: float) -> list[Sample]:
    """Return the periodic samples that are longer than the field along y or x; if there are none, one that is longer along both."""
    for long in (factor * whole for factor in LONGER):
        one_long = [cell for cell in (_repeating(read, long, side), _repeating(read, side, long)) if cell is not None]
        found = one_long or [cell for cell in (_repeating(read, long, long),) if cell is not None]
        if found:
            return found
    return []


def _repeating(read: Callable[..., Sample], height: float, width: float) -> Sample | None:
    """Return the sample of a size (A) or None if it is not periodic."""
    try:
        sample = read(height, width)
    except StructureFileError:  # the window holds no atoms; reading the larger window raises errors of the file again
        return None
    return sample if sample.periodic else None


def _field(sample: Sample, margin: float) -> FieldSample:
    return FieldSample(sample=sample, origin_angstrom=(margin, margin), notes=sample.notes)
