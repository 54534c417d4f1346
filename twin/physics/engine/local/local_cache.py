"""Disk cache of the truncation distances, the joined slices and the measured accuracy of local operators.

The overlaps of an operator are stored separately during its build, in pieces of 32 x 32 lattice points; see
``piece_cache.py``.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache
from stemtwin.twin.physics.engine.local.accuracy_check import Accuracy
from stemtwin.twin.physics.engine.local.basis import Localisation
from stemtwin.twin.physics.engine.local.film_slices import JoinedSlices
from stemtwin.twin.physics.engine.local.local_operator import LocalOperator
from stemtwin.twin.physics.engine.local.piece_cache import PieceStore
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack


def keep(cache: ArrayCache, key: str, operator: LocalOperator) -> None:
    """Store the truncation distances, the joined slices and the accuracy of an operator.

    The overlaps are not stored here. The build has already stored them in ``operator.store``, a
    :class:`~stemtwin.twin.physics.engine.local.piece_cache.PieceStore`.

    Parameters
    ----------
    cache : ArrayCache
        Cache of operators.
    key : str
        :func:`array_cache.content_key` of everything on which the operator depends, including the code.
    operator : LocalOperator
        The operator; nothing is stored if its accuracy was not checked.
    """
    accuracy, local = operator.accuracy, operator.basis.local
    if accuracy is None:
        return
    arrays = {
        "local": np.array(local.numbers),
        "accuracy": np.array([accuracy.points, accuracy.rms, accuracy.largest, accuracy.standard_error, *accuracy.mean]),
    }
    if operator.joined is not None:
        arrays["joined"] = np.array([*operator.joined.starts, operator.joined.count])
    cache.put(key, arrays)


def load(
    cache: ArrayCache, key: str, stacks: Sequence[SliceStack], semiangle: float, weights: Weights, *, periodic: bool, antialias: bool
) -> LocalOperator | None:
    """Return the operator that is stored under a key, or None if none is stored.

    The operator has no overlaps yet. :meth:`LocalOperator.build` reads stored overlaps from disk and computes missing ones. The other
    parameters are those of :class:`LocalOperator`.
    """
    found = cache.get(key)
    if found is None:
        return None
    local = Localisation.from_numbers(found["local"].tolist())
    operator = LocalOperator(stacks, semiangle, weights, local, periodic=periodic, antialias=antialias)
    joined = None
    if "joined" in found:
        *starts, count = found["joined"].tolist()
        joined = JoinedSlices(starts=tuple(starts), count=count)
        operator.join(joined)
    operator.store = PieceStore(cache, key, local, len(stacks), joined)
    points, rms, largest, error, *mean = found["accuracy"].tolist()
    operator.accuracy = Accuracy(points=int(points), rms=rms, largest=largest, standard_error=error, mean=tuple(mean))
    return operator
