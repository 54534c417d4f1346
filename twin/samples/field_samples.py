"""A sample that holds a field of view, from a structure file or the library."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stemtwin.twin.errors import SettingsError, UnknownNameError, closest
from stemtwin.twin.samples.library import list_samples, load_sample
from stemtwin.twin.samples.readers.read_sample import read_sample
from stemtwin.twin.samples.sample import Sample, resolve_sigma

MARGIN_ANGSTROM = 8.0
"""Width of the margin around the field where a structure is cut out of a larger one and is not periodic."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldSample:
    """A sample that holds a field of view.

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


def load_field(
    source: str,
    *,
    side_angstrom: float,
    thickness_angstrom: float | None = None,
    zone_axis: tuple[int, ...] | str | None = None,
    thermal_sigma_angstrom: float | Mapping[str, float] | None = None,
    block: str | None = None,
    seed: int = 0,
) -> FieldSample:
    """Load a sample that holds a square field of view.

    Parameters
    ----------
    source : str
        A structure file, or the name of a library sample where no such file exists.
    side_angstrom : float
        Side of the field, A.
    thickness_angstrom : float, optional
        Thickness along the beam, A.
    zone_axis : tuple of int or str, optional
        Lattice direction along the beam, for files; None: [001].
    thermal_sigma_angstrom : float or mapping, optional
        One-dimensional rms displacement, A, of all atoms or of each element; 0: static.
    block : str, optional
        One structure of a file that holds several, by name or number.
    seed : int
        Seed of occupancies and dopants.

    Raises
    ------
    UnknownNameError, StructureFileError
        There is no such file, and a library sample has a similar name; or the file cannot be read.
    SettingsError
        A library sample is given a zone axis or a block.
    """
    if not Path(source).exists():
        if source in list_samples():
            if block is not None or zone_axis is not None:
                given, value = ("block", block) if block is not None else ("zone_axis", zone_axis)
                message = f"{source} is a sample of the library, which has its own zone axis. Leave out {given}={value}."
                raise SettingsError(message)
            return _of_library(source, side_angstrom, thickness_angstrom, thermal_sigma_angstrom, seed)
        near = closest(source, list_samples())
        if near is not None:
            message = f"There is neither a file nor a sample named {source!r}. Did you mean {near!r}?"
            raise UnknownNameError(message)

    def read(side: float) -> Sample:
        return read_sample(
            source,
            zone_axis=(0, 0, 1) if zone_axis is None else zone_axis,
            size_angstrom=(side, side),
            thickness_angstrom=thickness_angstrom,
            thermal_sigma_angstrom=thermal_sigma_angstrom,
            block=block,
            seed=seed,
        )

    return _with_margin(read, side_angstrom)


def _of_library(name: str, side: float, thickness: float | None, sigma: float | Mapping[str, float] | None, seed: int) -> FieldSample:
    """Return a sample of the library, with other thermal motion where some is given."""
    sample = load_sample(name, size_angstrom=(side, side), thickness_angstrom=thickness, seed=seed)
    if sigma is not None:
        sample = replace(sample, thermal_sigma_angstrom=resolve_sigma(sample.numbers, sigma))
    return FieldSample(sample=sample, origin_angstrom=(0.0, 0.0), notes=sample.notes)


def _with_margin(read: Callable[[float], Sample], side: float) -> FieldSample:
    """Return the sample of a file, with a margin around the field where it is not periodic."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # each of them is among the sample's notes
        sample, margin = read(side), 0.0
        if not sample.periodic:
            sample = read(side + 2 * MARGIN_ANGSTROM)
            margin = 0.0 if sample.periodic else MARGIN_ANGSTROM
    return FieldSample(sample=sample, origin_angstrom=(margin, margin), notes=sample.notes)
