"""A sample that holds a field of view, from a structure file or the library."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from stemtwin.twin.errors import UnknownNameError, closest
from stemtwin.twin.samples.library import list_samples, load_sample
from stemtwin.twin.samples.readers import read_sample
from stemtwin.twin.samples.sample import Sample

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
    source: str, *, side_angstrom: float, thickness_angstrom: float | None = None, zone_axis: tuple[int, int, int] = (0, 0, 1), seed: int = 0
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
    zone_axis : tuple of int
        Lattice direction along the beam, for files.
    seed : int
        Seed of occupancies and dopants.

    Raises
    ------
    UnknownNameError
        There is no such file, and a library sample has a similar name.
    StructureFileError
        The file cannot be read.
    """
    if not Path(source).exists():
        if source in list_samples():
            sample = load_sample(source, size_angstrom=(side_angstrom, side_angstrom), thickness_angstrom=thickness_angstrom, seed=seed)
            return FieldSample(sample=sample, origin_angstrom=(0.0, 0.0), notes=sample.notes)
        near = closest(source, list_samples())
        if near is not None:
            message = f"There is neither a file nor a sample named {source!r}. Did you mean {near!r}?"
            raise UnknownNameError(message)

    def read(side: float) -> Sample:
        return read_sample(source, zone_axis=zone_axis, size_angstrom=(side, side), thickness_angstrom=thickness_angstrom, seed=seed)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        sample, margin = read(side_angstrom), 0.0
        if not sample.periodic:
            sample = read(side_angstrom + 2 * MARGIN_ANGSTROM)
            margin = 0.0 if sample.periodic else MARGIN_ANGSTROM
    told = dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, UserWarning))
    return FieldSample(sample=sample, origin_angstrom=(margin, margin), notes=(*sample.notes, *told))
