"""Compiled interpolation between equidistant knots."""

from stemtwin.twin.physics.engine.kernels.jit import kernel


@kernel
def interpolate(place, first, values, out):
    """Fill (n, streams) with the values at places in steps, linear between knots; ``values`` begins at the knot ``first``."""
    for i in range(len(place)):
        knot = int(place[i])
        fraction, at = place[i] - knot, knot - first
        for stream in range(values.shape[1]):
            out[i, stream] = values[at, stream] * (1 - fraction) + values[at + 1, stream] * fraction
