"""Disk cache of imaging operators; a build that was killed is resumed, with a bit-identical result."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import beam_blocks, imaging_operator
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage, MeasuredAverage, Translations
from stemtwin.twin.physics.engine.operator.point_group import PlaneSymmetry
from stemtwin.twin.physics.grids import Grid


def build(
    cache: ArrayCache,
    key: str,
    stacks: Iterator[SliceStack],
    semiangle: float,
    weights: Weights,
    *,
    blocks: tuple[int, int] = (1, 1),
    antialias: bool = True,
    progress: Callable[[int], None] | None = None,
    held: int | None = None,
    depths: Sequence[float] | None = None,
    average: LatticeAverage | None = None,
) -> ImagingOperator:
    """Return the operator of a key from disk, or build and store it; see :func:`imaging_operator.build`.

    Parameters
    ----------
    cache : ArrayCache
        Cache of operators, and of the pieces of an unfinished build.
    key : str
        :func:`array_cache.content_key` of everything on which the operator depends, including the code.
    stacks, semiangle, weights, blocks, antialias, progress, held, depths, average
        As in :func:`imaging_operator.build`. If the operator is on disk, no stack is taken from ``stacks`` and
        ``progress`` is not called.
    """

    def make() -> ImagingOperator:
        """Build the operator, which is not on disk."""
        return imaging_operator.build(
            stacks,
            semiangle,
            weights,
            blocks=blocks,
            held=held,
            depths=depths,
            antialias=antialias,
            progress=progress,
            cache=cache,
            key=key,
            average=average,
        )

    return kept(cache, key, make)


def kept(cache: ArrayCache, key: str, make: Callable[[], ImagingOperator]) -> ImagingOperator:
    """Return the operator of a key from disk, or make and store it; ``make`` may store partial results under the same key."""
    found = cache.get(key)
    if found is not None:
        cache.remove_pieces(key)  # left by a process that was killed after keeping the whole operator
        return from_arrays(found)
    operator = make()
    cache.finish(key, to_arrays(operator))
    return operator


def to_arrays(operator: ImagingOperator) -> dict[str, np.ndarray]:
    """Return an operator as named arrays; the pairs of beams are omitted, because they follow from the beams."""
    arrays = {
        "shape": np.array(operator.grid.shape),
        "extent": np.array(operator.grid.extent),
        "optics": np.array([operator.wavelength, operator.semiangle]),
        "blocks": np.array(operator.blocks),
        "antialias": np.array(operator.antialias),
        "standard_error": operator.standard_error,
        "configurations": np.array(operator.configurations),
    }
    if operator.average is not None:
        arrays |= {
            "translations": np.array(operator.average.translations.steps),
            "compared": np.array(operator.average.compared),
            "plain_error": operator.average.plain_error,
            "turns": np.array([(*turn.matrix[0], *turn.matrix[1], *turn.step) for turn in operator.average.turns]).reshape(-1, 6),
        }
    for number, (part, matrix, diagonal) in enumerate(zip(operator.parts, operator.matrices, operator.diagonals, strict=True)):
        arrays |= {
            f"offset {number}": np.array(part.offset),
            f"beams {number}": part.beams,
            f"matrix {number}": matrix,
            f"diagonal {number}": diagonal,
        }
    return arrays


def from_arrays(arrays: dict[str, np.ndarray]) -> ImagingOperator:
    """Return the operator that :func:`to_arrays` converted to the given arrays, bit-identical to the original."""
    grid = Grid(shape=tuple(arrays["shape"].tolist()), extent=tuple(arrays["extent"].tolist()))
    wavelength, semiangle = arrays["optics"].tolist()
    numbers = range(sum(name.startswith("beams ") for name in arrays))
    return ImagingOperator(
        grid=grid,
        wavelength=wavelength,
        semiangle=semiangle,
        blocks=tuple(arrays["blocks"].tolist()),
        antialias=bool(arrays["antialias"]),
        parts=tuple(beam_blocks.make_block(grid, wavelength, arrays[f"beams {n}"], tuple(arrays[f"offset {n}"].tolist())) for n in numbers),
        matrices=tuple(arrays[f"matrix {n}"] for n in numbers),
        diagonals=tuple(arrays[f"diagonal {n}"] for n in numbers),
        standard_error=arrays["standard_error"],
        configurations=int(arrays["configurations"]),
        average=_average(arrays),
    )


def _average(arrays: dict[str, np.ndarray]) -> MeasuredAverage | None:
    """Return the average over lattice translations in an operator's arrays, or None if there is none."""
    if "translations" not in arrays:
        return None
    steps = tuple((int(iy), int(ix)) for iy, ix in arrays["translations"])
    turns = tuple(
        PlaneSymmetry(matrix=((int(a), int(b)), (int(c), int(d))), step=(float(y), float(x))) for a, b, c, d, y, x in arrays["turns"].tolist()
    )
    return MeasuredAverage(translations=Translations(steps=steps), compared=int(arrays["compared"]), plain_error=arrays["plain_error"], turns=turns)
