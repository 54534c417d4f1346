"""The kernel of structure factors: sums of the atoms' phase factors.

Each sum stays in a register until all atoms are added.
"""

from stemtwin.twin.physics.engine.kernels.jit import inlined, kernel
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, add_complex, load, turned, weighted, zeros

NEAR = 2**14
"""Largest number of float32 in the x ramps that one tile reuses, unless a single column of points takes more: the ramps stay in the cache."""


@inlined
def _add_rows(total, row, ny, columns, column, even, odd, factor):
    """Add even - i odd to row ``row`` and even + i odd to row ``-row`` (if it is a different row), times the scattering factors."""
    side, at = turned(odd), row * columns + column
    add_complex(total, 2 * at, weighted(even + side, factor, at))
    if 0 < row < ny - row:
        add_complex(total, 2 * ((ny - row) * columns + column), weighted(even - side, factor, at))


@kernel
def add_structure(total, ny, begin, end, cos_y, sin_y, along_x, factor):
    """Add factor(ky, kx) sum_j exp(-2 pi i k.r_j) to the rows +ky and -ky of a half plane.

    ``total`` is (ny, columns) complex64, passed as flat float32; the number of columns is a multiple of 16. ``factor`` is
    (rows, columns) float32, flat. ``cos_y`` and ``sin_y`` are the cosine and the sine of 2 pi ky y_j, (rows, atoms), padded
    to an even number of rows; rows ``begin`` (even) to ``end - 1`` are treated. ``along_x`` holds exp(-2 pi i kx x_j),
    (columns / 16, atoms, 2, 16), as flat float32: for each group of 16 adjacent columns and each atom, 16 real parts and
    then 16 imaginary parts.
    """
    atoms = cos_y.shape[1]
    columns = total.size // (2 * ny)
    points = columns // LANES
    tile = max(1, NEAR // (atoms * POINT))
    for left in range(0, points, tile):
        for h in range(begin, end, 2):
            for p in range(left, min(left + tile, points)):
                even, odd, other_even, other_odd = zeros(), zeros(), zeros(), zeros()
                for j in range(atoms):
                    x = load(along_x, (p * atoms + j) * POINT)
                    even = even + cos_y[h, j] * x
                    odd = odd + sin_y[h, j] * x
                    other_even = other_even + cos_y[h + 1, j] * x
                    other_odd = other_odd + sin_y[h + 1, j] * x
                _add_rows(total, h, ny, columns, p * LANES, even, odd, factor)
                if h + 1 < end:
                    _add_rows(total, h + 1, ny, columns, p * LANES, other_even, other_odd, factor)
