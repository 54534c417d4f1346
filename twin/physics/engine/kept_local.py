"""Local operators on disk: the pieces that were built, and how far they are from multislice."""

from collections.abc import Sequence

import numpy as np

from stemtwin.twin.physics.engine.cache import ArrayCache
from stemtwin.twin.physics.engine.imaging import Weights
from stemtwin.twin.physics.engine.local import LocalOperator
from stemtwin.twin.physics.engine.local_basis import Localisation
from stemtwin.twin.physics.engine.local_check import Accuracy
from stemtwin.twin.physics.engine.multislice import SliceStack


def keep(cache: ArrayCache, key: str, operator: LocalOperator) -> None:
    """Keep the pieces of an operator that was checked.

    Parameters
    ----------
    cache : ArrayCache
        Where.
    key : str
        :func:`cache.content_key` of everything that the operator depends on, the code included.
    operator : LocalOperator
        Built and checked; one that was not checked is not kept.
    """
    accuracy, local = operator.accuracy, operator.basis.local
    if accuracy is None:
        return
    arrays = {
        "local": np.array([local.shape, local.reach, local.band, local.correlation]),
        "accuracy": np.array([accuracy.points, accuracy.rms, accuracy.largest, accuracy.standard_error, *accuracy.mean]),
        "pieces": np.array(operator.built).reshape(-1, 2),
    }
    for y, x in operator.built:
        arrays[f"overlaps {y} {x}"] = operator.piece_arrays((y, x))["overlaps"]
    cache.put(key, arrays)


def load(
    cache: ArrayCache, key: str, stacks: Sequence[SliceStack], semiangle: float, weights: Weights, *, periodic: bool, antialias: bool
) -> LocalOperator | None:
    """Return the operator of a key with the pieces that were kept, or None; parameters as for :class:`LocalOperator`."""
    found = cache.get(key)
    if found is None:
        return None
    shape, reach, band, correlation = found["local"].tolist()
    local = Localisation(shape=shape, reach=reach, band=band, correlation=correlation)
    operator = LocalOperator(stacks, semiangle, weights, local, periodic=periodic, antialias=antialias)
    for y, x in found["pieces"].tolist():
        operator.load_piece((y, x), {"overlaps": found[f"overlaps {y} {x}"]})
    points, rms, largest, error, *mean = found["accuracy"].tolist()
    operator.accuracy = Accuracy(points=int(points), rms=rms, largest=largest, standard_error=error, mean=tuple(mean))
    return operator
