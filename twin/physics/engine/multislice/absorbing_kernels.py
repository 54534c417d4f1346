"""The compiled pass of multislice through absorbing planes, which also sums the absorbed intensity of each wave.

The sums over a row are computed between its two Fourier transforms, when the row is in real space. Apart from these sums,
the pass is that of `multislice_kernels`.
"""

from stemtwin.twin.physics.engine.kernels.fft import ascend_line, convolve_line, descend_line
from stemtwin.twin.physics.engine.kernels.jit import kernel, part
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, load, squared, store, swapped, zeros


@part
def _propagate_planes(wave, y_factors, x_factors, band, line, factors, plan, places):
    """Transform all columns, multiply them by the propagator, and transform them back."""
    ny = plan.order.size
    for c in range(x_factors.size):
        x_factor = x_factors[c]
        for i in range(ny):
            factors[i] = y_factors[i] * x_factor * band[c, i]
        convolve_line(wave, c * POINT, places, places, line, plan, factors, 0, POINT)


@part
def _add_total(line, at, total, sums, d):
    """Add the real and imaginary parts of a value to the sums of channel ``d``, through one point of scratch memory."""
    store(line, at, total)
    for j in range(LANES):
        sums[d, j] += line[at + j] + line[at + LANES + j]


@part
def _transmit_weighing(wave, transmission, sections, sums, first, pitch, ny, line, plan, reads, writes):
    """Transform all rows back, add their absorbed intensity to ``sums``, multiply them by the transmission, and transform them again."""
    nx = plan.order.size
    order = plan.order
    for y in range(ny):
        row = first + y * nx
        descend_line(wave, y * pitch * POINT, reads, line, plan)
        for d in range(1, sections.shape[0]):
            total = zeros()
            for i in range(nx):
                total = total + sections[d, row + order[i]] * squared(load(line, i * POINT))
            _add_total(line, nx * POINT, total, sums, d)
        total = zeros()
        for i in range(nx):
            value = load(line, i * POINT)
            total = total + sections[0, row + order[i]] * squared(value)
            store(line, i * POINT, transmission[row + order[i]] * swapped(value))
        _add_total(line, nx * POINT, total, sums, 0)
        ascend_line(line, wave, y * pitch * POINT, writes, plan)


@kernel
def advance_weighing(
    wave, transmission, sections, sums, steps, y_factors, x_factors, band, pitch, line, factors, plan_y, plan_x, places_y, first_reads, reads, writes
):
    """Propagate sixteen waves psi through all planes, and add the absorbed intensity, summed over all points, to ``sums``.

    ``sections`` is the absorbed fraction of abs(psi)^2 at each point of the planes, for D channels, float32, shape (D, points
    of all planes). ``sums`` has one element per channel and wave, float64, shape (D, 16).
    """
    ny, nx = plan_y.order.size, plan_x.order.size
    for s in range(steps.size):
        if s > 0:
            step = steps[s]
            _propagate_planes(wave, y_factors[step], x_factors[step], band, line, factors, plan_y, places_y)
        _transmit_weighing(wave, transmission, sections, sums, s * ny * nx, pitch, ny, line, plan_x, first_reads if s == 0 else reads, writes)
