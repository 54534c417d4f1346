"""Pieces of a local operator on disk while it is built: what was killed in the middle goes on, to the same bits."""

import numpy as np

from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache, content_key, piece_key
from stemtwin.twin.physics.engine.local.basis import Localisation, Piece
from stemtwin.twin.physics.engine.local.film_slices import JoinedSlices


class PieceStore:
    """The pieces of one operator.

    A piece is the sum over some frozen-phonon configurations, from the first on; it is kept after each of them, in the place of the one before.

    Parameters
    ----------
    cache : ArrayCache
        Where.
    key : str
        The operator's key.
    local : Localisation
        How far things reach: with another reach pieces are others.
    configurations : int
        How many configurations there are.
    joined : JoinedSlices, optional
        The slices that are joined.
    """

    def __init__(self, cache: ArrayCache, key: str, local: Localisation, configurations: int, joined: JoinedSlices | None = None) -> None:
        self.cache, self.configurations = cache, configurations
        slices = {} if joined is None else {"joined": list(joined.starts)}
        self.key = content_key({"operator": key, "local": local.numbers, **slices})

    def load(self, piece: Piece) -> tuple[int, dict[str, np.ndarray]]:
        """Return the sum over most configurations that is kept of a piece, and over how many; 0 and nothing if there is none."""
        for done in range(self.configurations, 0, -1):
            found = self.cache.get(piece_key(self.key, *piece, done))
            if found is not None:
                return done, found
        return 0, {}

    def save(self, piece: Piece, done: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep the sum over the first ``done`` configurations."""
        if self.cache.put(piece_key(self.key, *piece, done), arrays) and done > 1:
            self.cache.remove(piece_key(self.key, *piece, done - 1))

    def drop(self) -> None:
        """Forget all pieces."""
        self.cache.remove_pieces(self.key)
