"""Compiled sweeps over one Gaussian tree, up to the root and back to the pixels, for ``image_trees.py``.

The nodes of the tree are squares of pixels. The squares of all levels are stored in one array, largest squares first and row
by row within a level; each level has twice as many squares along a side as the previous one.
"""

import numpy as np

from stemtwin.twin.physics.engine.kernels.jit import inlined, kernel, part

ONE, QUARTER = np.float32(1), np.float32(0.25)


@kernel
def sweep(
    information: np.ndarray, weighted: np.ndarray, structure: np.ndarray, corner: tuple[int, int], shares: np.ndarray,
    work: np.ndarray, rows: np.ndarray, mean: np.ndarray, variance: np.ndarray,
) -> None:  # fmt: skip
    """Compute the posterior mean and variance of every pixel under one tree, and write them to ``mean`` and ``variance``.

    Parameters
    ----------
    information, weighted : ndarray
        Inverse variance of each measured pixel (0 elsewhere), and its product with the value, float32 (n, n).
    structure : ndarray
        Local structure at each pixel, float32 (n, n); outside the field the smallest local structure is used.
    corner : tuple of int
        Row and column of the tree at which the field begins.
    shares : ndarray
        Ratio of the prior variance to the local structure on each level, from the largest squares to pixels, float32 (levels,).
    work : ndarray
        Work space, float32 (4, squares of all levels).
    rows : ndarray
        Work space, float32 (3, squares along one side of the finest level).
    mean, variance : ndarray
        Output, float32 (n, n).
    """
    n, levels = len(information), len(shares)
    local, up, eta, spread = work[0], work[1], work[2], work[3]
    coarse = len(rows[0]) >> (levels - 1)
    side = coarse << (levels - 1)
    fine = len(local) - side * side
    local[fine:], up[fine:], eta[fine:] = structure.min(), 0.0, 0.0
    for y in range(n):
        row = fine + (corner[0] + y) * side + corner[1]
        local[row : row + n], up[row : row + n], eta[row : row + n] = structure[y], information[y], weighted[y]
    _average(local, coarse, levels)
    _to_the_root(local, up, eta, shares, coarse, rows)
    _at_the_root(local, up, eta, spread, shares[0], coarse)
    _to_the_pixels(local, up, eta, spread, shares, coarse, rows)
    for y in range(n):
        row = fine + (corner[0] + y) * side + corner[1]
        mean[y], variance[y] = eta[row : row + n], spread[row : row + n]


@part
def _average(local: np.ndarray, coarse: int, levels: int) -> None:
    """Set the structure of the squares of every level to the mean over their four children."""
    side, fine = coarse << (levels - 1), len(local) - (coarse << (levels - 1)) ** 2
    for _ in range(levels - 1):
        half = side // 2
        at = fine - half * half
        for y in range(half):
            one, other = local[fine + 2 * y * side : fine + (2 * y + 1) * side], local[fine + (2 * y + 1) * side : fine + (2 * y + 2) * side]
            above = local[at + y * half : at + (y + 1) * half]
            for x in range(half):
                above[x] = QUARTER * (one[2 * x] + one[2 * x + 1] + other[2 * x] + other[2 * x + 1])
        fine, side = at, half


@part
def _to_the_root(local: np.ndarray, up: np.ndarray, eta: np.ndarray, shares: np.ndarray, coarse: int, rows: np.ndarray) -> None:
    """Accumulate information, and information times value, from the four children of each square."""
    side, fine = coarse << (len(shares) - 1), len(local) - (coarse << (len(shares) - 1)) ** 2
    q, a, b = rows[0], rows[1], rows[2]
    for level in range(len(shares) - 1, 0, -1):
        half, share = side // 2, shares[level]
        at = fine - half * half
        for y in range(half):
            above, first = at + y * half, fine + 2 * y * side
            wider(local[above : above + half], share, q)
            up1, up2 = up[first : first + side], up[first + side : first + 2 * side]
            eta1, eta2 = eta[first : first + side], eta[first + side : first + 2 * side]
            for x in range(side):
                one, other = ONE / (ONE + up1[x] * q[x]), ONE / (ONE + up2[x] * q[x])
                a[x] = up1[x] * one + up2[x] * other
                b[x] = eta1[x] * one + eta2[x] * other
            up_above, eta_above = up[above : above + half], eta[above : above + half]
            for x in range(half):
                up_above[x] = a[2 * x] + a[2 * x + 1]
                eta_above[x] = b[2 * x] + b[2 * x + 1]
        fine, side = at, half


@part
def _at_the_root(local: np.ndarray, up: np.ndarray, eta: np.ndarray, spread: np.ndarray, share: float, coarse: int) -> None:
    """Convert the information of the largest squares to mean and variance, with a root of mean 0 and variance 1."""
    count = coarse * coarse
    q, total, root = share * local[:count].mean(), 1.0, 0.0
    for i in range(count):
        damped = 1 / (1 + up[i] * q)
        total += up[i] * damped
        root += eta[i] * damped
    for i in range(count):
        gain = 1 / (1 + q * up[i])
        eta[i] = gain * (root / total + q * eta[i])
        spread[i] = gain * (gain / total + q)


@part
def _to_the_pixels(local: np.ndarray, up: np.ndarray, eta: np.ndarray, spread: np.ndarray, shares: np.ndarray, coarse: int, rows: np.ndarray) -> None:
    """Convert information to mean (``eta``) and variance (``spread``), level by level."""
    side, fine = coarse, 0
    q, m, v = rows[0], rows[1], rows[2]
    for level in range(1, len(shares)):
        at, half = fine, side
        fine, side = fine + side * side, 2 * side
        for y in range(half):
            above = at + y * half
            wider(local[above : above + half], shares[level], q)
            wider(eta[above : above + half], ONE, m)
            wider(spread[above : above + half], ONE, v)
            for first in (fine + 2 * y * side, fine + (2 * y + 1) * side):
                up_row, eta_row, spread_row = up[first : first + side], eta[first : first + side], spread[first : first + side]
                for x in range(side):
                    gain = ONE / (ONE + q[x] * up_row[x])
                    eta_row[x] = gain * (m[x] + q[x] * eta_row[x])
                    spread_row[x] = gain * (gain * v[x] + q[x])


@inlined
def wider(values: np.ndarray, factor: float, out: np.ndarray) -> None:
    """Write every value twice in succession to ``out``, multiplied by a factor."""
    for x in range(len(values)):
        value = factor * values[x]
        out[2 * x] = value
        out[2 * x + 1] = value
