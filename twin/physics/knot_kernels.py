"""Compiled interpolation between equidistant knots."""

from stemtwin.twin.physics.engine.kernels.jit import kernel


@kernel
def interpolate(place, first, values, out):
    """Interpolate ``values`` linearly at the positions ``place`` and write the result to ``out``, (n, streams).

    Positions are in units of the distance between knots; ``values`` begins at the knot ``first``.
    """
    for i in range(len(place)):
        knot = int(place[i])
        fraction, at = place[i] - knot, knot - first
        for stream in range(values.shape[1]):
            out[i, stream] = values[at, stream] * (1 - fraction) + values[at + 1, stream] * fraction
