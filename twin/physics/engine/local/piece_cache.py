"""Disk cache of the pieces of a local operator.

A build that was killed resumes from the stored pieces. Its result is bit-identical to that of an uninterrupted build.
"""

import numpy as np

from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache, content_key, piece_key
from stemtwin.twin.physics.engine.local.basis import Localisation, Piece
from stemtwin.twin.physics.engine.local.film_slices import JoinedSlices


class PieceStore:
    """Disk cache of the pieces of one operator.

    A piece contains the overlaps of 32 x 32 lattice points, summed over the frozen-phonon configurations computed so far.
    The sum is stored after each configuration and replaces the previous sum.

    Parameters
    ----------
    cache : ArrayCache
        Cache of arrays.
    key : str
        The operator's key.
    local : Localisation
        Truncation distances, on which the pieces depend.
    configurations : int
        Number of configurations.
    joined : JoinedSlices, optional
        The slices that are joined.
    """

    def __init__(self, cache: ArrayCache, key: str, local: Localisation, configurations: int, joined: JoinedSlices | None = None) -> None:
        self.cache, self.configurations = cache, configurations
        slices = {} if joined is None else {"joined": list(joined.starts)}
        self.key = content_key({"operator": key, "local": local.numbers, **slices})

    def load(self, piece: Piece) -> tuple[int, dict[str, np.ndarray]]:
        """Return the number of configurations in the stored sum of a piece, and the arrays of the sum; 0 and {} if none is stored.

        If several sums are stored, the sum over the largest number of configurations is returned.
        """
        for done in range(self.configurations, 0, -1):
            found = self.cache.get(piece_key(self.key, *piece, done))
            if found is not None:
                return done, found
        return 0, {}

    def save(self, piece: Piece, done: int, arrays: dict[str, np.ndarray]) -> None:
        """Store the sum of a piece over the first ``done`` configurations."""
        if self.cache.put(piece_key(self.key, *piece, done), arrays) and done > 1:
            self.cache.remove(piece_key(self.key, *piece, done - 1))

    def drop(self) -> None:
        """Remove all pieces of the operator."""
        self.cache.remove_pieces(self.key)
