"""The kernel of structure factors: phase ramps of atoms, summed in registers."""

from stemtwin.twin.physics.engine.jit import kernel
from stemtwin.twin.physics.engine.lanes import LANES, POINT, load, store, turned, zeros


@kernel
def add_structure(total, begin, end, cos_y, sin_y, along_x, factor, scratch):
    """Add factor(ky, kx) sum_j exp(-2 pi i k.r_j) to the rows +ky and -ky of a half plane.

    ``total`` is (ny, columns) complex64 with whole points of 16 columns; ``begin`` is even, rows ``begin`` to ``end - 1`` are of ``cos_y``, ``sin_y``
    (rows, atoms), padded to an even number; ``along_x`` holds the points (columns / 16, atoms) of exp(-2 pi i kx x_j); ``scratch`` four points.
    """
    ny = total.shape[0]
    atoms = cos_y.shape[1]
    for p in range(total.shape[1] // LANES):
        first = p * atoms * POINT
        for h in range(begin, end, 2):
            even, odd, other_even, other_odd = zeros(), zeros(), zeros(), zeros()
            for j in range(atoms):
                x = load(along_x, first + j * POINT)
                even = even + cos_y[h, j] * x
                odd = odd + sin_y[h, j] * x
                other_even = other_even + cos_y[h + 1, j] * x
                other_odd = other_odd + sin_y[h + 1, j] * x
            store(scratch, 0, even + turned(odd))
            store(scratch, POINT, even - turned(odd))
            store(scratch, 2 * POINT, other_even + turned(other_odd))
            store(scratch, 3 * POINT, other_even - turned(other_odd))
            for row in range(h, min(h + 2, end)):
                at = 2 * (row - h) * POINT
                for i in range(LANES):
                    total[row, p * LANES + i] += factor[row, p * LANES + i] * complex(scratch[at + i], scratch[at + LANES + i])
                if 0 < row < ny - row:
                    at += POINT
                    for i in range(LANES):
                        total[ny - row, p * LANES + i] += factor[row, p * LANES + i] * complex(scratch[at + i], scratch[at + LANES + i])
