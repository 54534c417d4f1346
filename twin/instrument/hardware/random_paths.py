"""Random paths as pure functions of the time.

Each path has random values at knots on a fixed time grid. The random generator of a knot depends only on the seed and the
position of the knot, so the value of a path at a time is bit-identical regardless of the number and order of calls.
Cached values can be drawn again, so a snapshot of an instrument needs only the seed and the clock and no random state.
"""

import functools
import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.knot_kernels import interpolate

LARGEST_TIME_S = 1e7
"""Latest time of a path, s; about four months."""
LEVELS = 8
"""Number of halvings that fill a block of 2**LEVELS steps."""
CHUNK = 256
"""Number of blocks whose ends are drawn together."""
KEPT_BLOCKS, KEPT_CHUNKS = 32, 4


class Wander:
    r"""Independent Ornstein-Uhlenbeck or Wiener paths, one for each stream, that start at 0 at time 0.

    An Ornstein-Uhlenbeck path obeys :math:`dx = -x\,dt/\tau + \sigma\sqrt{2/\tau}\,dW`. A Wiener path, with infinite tau,
    obeys :math:`dx = \sigma\,dW`. The distribution is exact at the knots, which are ``step_s`` apart. The values at the ends of
    a block of knots are drawn from the transition probability of the process (Gillespie, Phys. Rev. E 54 (1996) 2084),
    and the values between the ends from the bridge distribution of the process, by repeated halving of the block. Paths are
    linear between knots.

    Parameters
    ----------
    seed : int
        Seed of all streams.
    streams : sequence of int
        Key of each path; paths with different keys or seeds are independent, and a path does not depend on the other
        paths.
    sigma : sequence of float
        Standard deviation of each path long after the start, or of a Wiener path after 1 s.
    tau_s : sequence of float
        Correlation time of each path, s; infinite: a Wiener path.
    step_s : float
        Time between knots, s. It must be a power of 2, so the times of knots are exact floating-point numbers.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    def __init__(self, *, seed: int, streams: Sequence[int], sigma: Sequence[float], tau_s: Sequence[float], step_s: float = 2.0**-6) -> None:
        if not len(streams) == len(sigma) == len(tau_s):
            message = (
                f"{len(streams)} streams do not match {len(sigma)} sigma and {len(tau_s)} tau_s. "
                "Give one stream, one sigma and one tau_s for each path."
            )
            raise SettingsError(message)
        if math.frexp(checks.number("step_s", step_s, "s", above=0))[0] != 0.5:
            message = f"step_s={step_s:g} s is not a power of 2. Use for example 2.0**-6 or 1.0."
            raise SettingsError(message)
        self._seed = checks.whole("seed", seed, low=0)
        self._keys = [checks.whole("streams", key, low=0) for key in streams]
        self._sigma = np.array([checks.number("sigma", value, "", low=0) for value in sigma])
        self._tau = np.array([math.inf if value == math.inf else checks.number("tau_s", value, "s", above=0) for value in tau_s])
        self._step = float(step_s)
        self._starts = [np.zeros(len(self._keys))]  # values at the start of each chunk
        self._chunks: OrderedDict[int, np.ndarray] = OrderedDict()
        self._blocks: OrderedDict[int, np.ndarray] = OrderedDict()

    def at(self, times_s: np.ndarray | float) -> np.ndarray:
        """Return the values of the paths.

        Parameters
        ----------
        times_s : array_like
            Times since the start, s, any shape and order.

        Returns
        -------
        ndarray
            Values, float64; their shape is that of ``times_s``, followed by an axis with one element for each path.

        Raises
        ------
        SettingsError
            A time is negative, not finite or too late.
        """
        times = checked_times(times_s)
        place, out = times.reshape(-1) / self._step, np.zeros((times.size, len(self._keys)))
        if times.size and self._sigma.any():
            first, last = int(place.min()) >> LEVELS, int(place.max()) >> LEVELS
            if first == last:  # the usual case, as one frame is short
                interpolate(place, first << LEVELS, self._block(first), out)
            else:
                blocks = place.astype(np.int64) >> LEVELS
                for block in np.unique(blocks).tolist():
                    here = blocks == block
                    inside = np.empty((np.count_nonzero(here), len(self._keys)))
                    interpolate(place[here], block << LEVELS, self._block(block), inside)
                    out[here] = inside
        return out.reshape(*times.shape, len(self._keys))

    @functools.cached_property
    def _bridges(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Bridges of all levels, the widest first."""
        return [self._bridge(2**level) for level in reversed(range(LEVELS))]

    def _normals(self, kind: int, index: int, count: int) -> np.ndarray:
        """Draw standard normal numbers, shape (count, streams), from the generators of one position in each path."""
        keys = [np.random.SeedSequence(self._seed, spawn_key=(key, kind, index)) for key in self._keys]
        return np.stack([np.random.Generator(np.random.Philox(key)).standard_normal(count) for key in keys], axis=1)

    def _transition(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the remaining fraction of a value after a time, and the standard deviation of its new part."""
        wiener = np.isinf(self._tau)
        return np.exp(-time / self._tau), self._sigma * np.sqrt(np.where(wiener, time, -np.expm1(-2 * time / self._tau)))

    def _bridge(self, half: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return the steps to two known values, their weight in the middle, and the standard deviation there."""
        time = half * self._step
        left = np.exp(-time / self._tau)
        variance = np.where(np.isinf(self._tau), time / 2, -np.expm1(-2 * time / self._tau) / (1 + left**2))
        return half, left / (1 + left**2), self._sigma * np.sqrt(variance)

    def _chunk(self, chunk: int) -> np.ndarray:
        """Return the values at the ends of the blocks of a chunk, shape (CHUNK + 1, streams)."""
        if chunk in self._chunks:
            self._chunks.move_to_end(chunk)
            return self._chunks[chunk]
        left, new = self._transition(self._step * 2**LEVELS)
        values = np.empty(0)
        for c in range(min(chunk, len(self._starts) - 1), chunk + 1):
            steps = self._normals(0, c, CHUNK) * new
            paths = [itertools.accumulate(steps[:, i].tolist(), lambda x, dx, a=float(left[i]): a * x + dx, initial=float(self._starts[c][i]))
                     for i in range(len(self._keys))]  # fmt: skip
            values = np.array([list(path) for path in paths]).T
            if c + 1 == len(self._starts):
                self._starts.append(values[-1])
        self._chunks[chunk] = values
        if len(self._chunks) > KEPT_CHUNKS:
            self._chunks.popitem(last=False)
        return values

    def _block(self, block: int) -> np.ndarray:
        """Return the values at the knots of a block, its end included, shape (2**LEVELS + 1, streams)."""
        if block in self._blocks:
            self._blocks.move_to_end(block)
            return self._blocks[block]
        chunk, length = self._chunk(block // CHUNK), 2**LEVELS
        values = np.empty((length + 1, len(self._keys)))
        values[0], values[-1] = chunk[block % CHUNK], chunk[block % CHUNK + 1]
        normals = self._normals(1, block, length)
        for half, pull, new in self._bridges:
            middles, ends = slice(half, length, 2 * half), values[:: 2 * half]
            values[middles] = (ends[:-1] + ends[1:]) * pull + normals[middles] * new
        self._blocks[block] = values
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return values


def checked_times(times_s: np.ndarray | float) -> np.ndarray:
    """Return times as float64; raise SettingsError for a time that is negative, not finite or too late."""
    try:
        times = np.asarray(times_s, dtype=np.float64)
    except (TypeError, ValueError):
        message = f"times_s={times_s!r} are not numbers. Give seconds since the start."
        raise SettingsError(message) from None
    wrong = ~((times >= 0) & (times <= LARGEST_TIME_S))
    if wrong.any():
        message = f"times_s={times[wrong].flat[0]:g} s is not between 0 and {LARGEST_TIME_S:g} s. Start a new run for later times."
        raise SettingsError(message)
    return times
