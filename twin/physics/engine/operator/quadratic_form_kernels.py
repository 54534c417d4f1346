"""Kernels of the imaging operator: the quadratic form, sorted by the difference of two beams, with sums in float64.

The quadratic form is the sum of conj(a_i) a_j M_ij over all pairs (i, j) of beams with the same difference of their integer
indices (hy, hx). The vector a contains the amplitudes of the beams, and M is a Hermitian matrix.

The pairs have the following memory layout. Beams are sorted by (hy, hx), so each row of the aperture is a contiguous
*segment*. Eight neighbouring differences (hy, hx .. hx + 7) form a *group*. The eight partners j of a beam i in a group are
contiguous in memory, and so are the eight elements M_ij. If a partner lies outside the aperture, its element is stored as
0. The beams i of a group form contiguous *runs*, one run for each pair of segments.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.jit import kernel
from stemtwin.twin.physics.engine.kernels.simd_float64 import EIGHT, nothing, read, write

STEP = 2 * EIGHT
"""Number of float32 of M for one beam i and eight partners: eight real parts, then eight imaginary parts."""
PIECES = 8
"""Number of parts into which a form is divided for threads; fixed, like the order inside each part."""
WORTH_A_THREAD = 200_000
"""Number of multiplications of eight numbers below which a second thread costs more time than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BeamPairs:
    """All pairs (i, j) of beams whose difference h_j - h_i lies in the half plane hy > 0, or hy = 0 and hx >= 0.

    h = (hy, hx) are the integer indices of a beam, and beams are sorted by them. A segment is a row of the aperture. A
    group consists of eight neighbouring differences (hy, hx .. hx + 7). If h_j - h_i is one of them, beam j is a partner of beam
    i in the group. For each group and each pair of segments, the beams i of one segment with partners j in the other form a
    run. The beams of a run are contiguous.

    Parameters
    ----------
    beams : int
        Number of beams.
    runs : ndarray
        One row for each run, int64, shape (runs, 5). The columns are the index of the first beam i, the index of its first
        partner j, the number of beams i, and the indices of the first and the last beam of the partners' segment. All
        indices are those of padded arrays (:func:`padded`).
    groups : ndarray
        First run and first step (one beam i of one run) of each group, int64, shape (groups + 1, 2). The last row contains
        the total numbers of runs and steps.
    differences : ndarray
        First difference (hy, hx) of each group, int64, shape (groups, 2), sorted by hy.
    """

    beams: int
    runs: np.ndarray
    groups: np.ndarray
    differences: np.ndarray

    @property
    def steps(self) -> int:
        """Number of steps, where a step is one beam i of one run and its eight partners j in a group."""
        return int(self.groups[-1, 1])

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.runs.nbytes + self.groups.nbytes + self.differences.nbytes


def pairs(hy: np.ndarray, hx: np.ndarray) -> BeamPairs:
    """Return all pairs of the beams with the integer indices hy and hx, shapes (B,).

    The beams must be sorted by hy, and beams of equal hy by hx.
    """
    first = np.flatnonzero(np.concatenate([[True], (np.diff(hy) != 0) | (np.diff(hx) != 1)]))
    last = np.concatenate([first[1:], [hy.size]]) - 1
    s, t = np.triu_indices(first.size)
    dy, low, high = hy[first[t]] - hy[first[s]], hx[first[t]] - hx[last[s]], hx[last[t]] - hx[first[s]]
    base = np.full(int(dy.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(base, dy, low)
    base[0] = 0
    low = np.maximum(low, base[dy])  # a segment with itself has only differences >= 0
    block, end = (low - base[dy]) // EIGHT, (high - base[dy]) // EIGHT
    count = end - block + 1
    which = np.repeat(np.arange(s.size), count)  # one run per pair of segments and group
    block = block[which] + np.arange(which.size) - np.repeat(np.cumsum(count) - count, count)
    s, t, dy = s[which], t[which], dy[which]
    dx = base[dy] + EIGHT * block
    x0 = np.maximum(hx[first[s]], hx[first[t]] - dx - (EIGHT - 1))
    x1 = np.minimum(hx[last[s]], hx[last[t]] - dx)
    i, j = first[s] + x0 - hx[first[s]], first[t] + x0 + dx - hx[first[t]]
    runs = np.column_stack([i + EIGHT, j + EIGHT, x1 - x0 + 1, first[t] + EIGHT, last[t] + EIGHT])
    order = np.lexsort([block, dy])
    runs, dy, dx = runs[order], dy[order], dx[order]
    starts = np.flatnonzero(np.concatenate([[True], (np.diff(dy) != 0) | (np.diff(dx) != 0)]))
    steps = np.concatenate([[0], np.cumsum(runs[:, 2])])
    groups = np.column_stack([np.append(starts, len(runs)), np.append(steps[starts], steps[-1])])
    return BeamPairs(beams=hy.size, runs=runs, groups=groups, differences=np.column_stack([dy[starts], dx[starts]]))


def padded(values: np.ndarray) -> np.ndarray:
    """Return a contiguous copy of values (..., B) with eight zeros before and eight zeros after them along the last axis."""
    out = np.zeros((*values.shape[:-1], values.shape[-1] + 2 * EIGHT), values.dtype)
    out[..., EIGHT:-EIGHT] = values
    return out


@kernel
def _pick(matrix, runs, out):
    at = 0
    for r in range(runs.shape[0]):
        for s in range(runs[r, 2]):
            i = runs[r, 0] + s
            for lane in range(EIGHT):
                j = runs[r, 1] + s + lane
                inside = max(i, runs[r, 3]) <= j <= runs[r, 4]
                m = matrix[i - EIGHT, j - EIGHT] if inside else np.complex64(0)
                factor = np.float32(1) if i == j else np.float32(2)
                out[at + lane] = factor * m.real
                out[at + EIGHT + lane] = factor * m.imag
            at += STEP


def pick(matrix: np.ndarray, listed: BeamPairs) -> np.ndarray:
    """Return the elements of a Hermitian matrix in the order of the pairs, doubled off the diagonal.

    Parameters
    ----------
    matrix : ndarray
        Matrix, complex64, shape (B, B); only its upper triangle is read.
    listed : BeamPairs
        The pairs.

    Returns
    -------
    ndarray
        Elements, float32, shape (16 ``listed.steps``,), 16 numbers for each step. A step is a beam i with eight partners j
        (:class:`BeamPairs`). Its numbers are the real parts of the eight elements M_ij, then their imaginary parts.
    """
    out = np.empty(listed.steps * STEP, np.float32)
    _pick(matrix, listed.runs, out)
    return out


@kernel
def _differences(values, runs, out):
    at = 0
    for r in range(runs.shape[0]):
        for s in range(runs[r, 2]):
            for lane in range(EIGHT):
                out[at + lane] = values[runs[r, 0] + s] - values[runs[r, 1] + s + lane]
            at += EIGHT


def differences(values: np.ndarray, listed: BeamPairs) -> np.ndarray:
    """Return v_i - v_j for all pairs (i, j), float64, shape (steps, 8), from values v (B,)."""
    out = np.empty(listed.steps * EIGHT)
    _differences(padded(values), listed.runs, out)
    return out.reshape(-1, EIGHT)


@kernel
def _form(ar, ai, m, runs, groups, begin, end, places, out_r, out_i):
    for g in range(begin, end):
        for state in range(ar.shape[0]):
            xr, xi = ar[state], ai[state]
            rr, ii, ri, ir = nothing(), nothing(), nothing(), nothing()
            at = groups[g, 1] * STEP
            for r in range(groups[g, 0], groups[g + 1, 0]):
                i, j = runs[r, 0], runs[r, 1]
                for s in range(runs[r, 2]):
                    br, bi = read(xr, j + s), read(xi, j + s)
                    pr = xr[i + s] * br + xi[i + s] * bi
                    pi = xr[i + s] * bi - xi[i + s] * br
                    mr, mi = read(m, at), read(m, at + EIGHT)
                    rr, ii, ri, ir = rr + pr * mr, ii + pi * mi, ri + pr * mi, ir + pi * mr
                    at += STEP
            write(out_r[state], places[g], read(out_r[state], places[g]) + (rr - ii))
            write(out_i[state], places[g], read(out_i[state], places[g]) + (ri + ir))


@kernel
def _form_of_two(ar, ai, m, n, runs, groups, begin, end, places, out_r, out_i, also_r, also_i):
    for g in range(begin, end):
        for state in range(ar.shape[0]):
            xr, xi = ar[state], ai[state]
            rr, ii, ri, ir = nothing(), nothing(), nothing(), nothing()
            tt, uu, tu, ut = nothing(), nothing(), nothing(), nothing()
            at = groups[g, 1] * STEP
            for r in range(groups[g, 0], groups[g + 1, 0]):
                i, j = runs[r, 0], runs[r, 1]
                for s in range(runs[r, 2]):
                    br, bi = read(xr, j + s), read(xi, j + s)
                    pr = xr[i + s] * br + xi[i + s] * bi
                    pi = xr[i + s] * bi - xi[i + s] * br
                    mr, mi = read(m, at), read(m, at + EIGHT)
                    rr, ii, ri, ir = rr + pr * mr, ii + pi * mi, ri + pr * mi, ir + pi * mr
                    mr, mi = read(n, at), read(n, at + EIGHT)
                    tt, uu, tu, ut = tt + pr * mr, uu + pi * mi, tu + pr * mi, ut + pi * mr
                    at += STEP
            write(out_r[state], places[g], read(out_r[state], places[g]) + (rr - ii))
            write(out_i[state], places[g], read(out_i[state], places[g]) + (ri + ir))
            write(also_r[state], places[g], read(also_r[state], places[g]) + (tt - uu))
            write(also_i[state], places[g], read(also_i[state], places[g]) + (tu + ut))


def _equal_rows(listed: list[BeamPairs], my: int) -> list[int]:
    """Return the borders that divide the rows hy = 0 .. my into parts of about equal work."""
    rows = np.zeros(my + 1)
    for p in listed:
        rows += np.bincount(p.differences[:, 0], np.diff(p.groups[:, 1]), my + 1)
    done = np.cumsum(rows) / rows.sum()
    return [0, *np.unique(1 + np.searchsorted(done, np.arange(1, PIECES) / PIECES)).tolist(), my + 1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FormLayout:
    """Position of each difference of two beams in an array of Fourier coefficients, and the division of its rows among threads.

    A row contains the differences (hy, hx) with one hy. A group consists of eight neighbouring differences of one row.

    Parameters
    ----------
    listed : list of BeamPairs
        The pairs of each block.
    my, mx : int
        Largest differences hy and hx over all blocks.
    width : int
        Length of a row in the array.
    places : list of ndarray
        Position of each group's first difference, for each block.
    whole, shared : list
        Two divisions of each block into parts, as indices of the groups at which parts begin or end. In ``whole``, each
        block is one part. In ``shared``, each block has several parts, and every row belongs to one part only.
    """

    listed: list[BeamPairs]
    my: int
    mx: int
    width: int
    places: list[np.ndarray]
    whole: list[list[int]]
    shared: list[list[int]]


def form_layout(listed: list[BeamPairs], my: int, mx: int) -> FormLayout:
    """Return the layout of a quadratic form from the pairs of each block and the largest differences over all blocks."""
    width = 2 * mx + 1 + EIGHT
    whole, shared = ([np.searchsorted(p.differences[:, 0], cuts).tolist() for p in listed] for cuts in ([0, my + 1], _equal_rows(listed, my)))
    places = [p.differences[:, 0] * width + p.differences[:, 1] + mx for p in listed]
    return FormLayout(listed=listed, my=my, mx=mx, width=width, places=places, whole=whole, shared=shared)


def quadratic_form(real: list[np.ndarray], imag: list[np.ndarray], matrices: list[np.ndarray], layout: FormLayout) -> np.ndarray:
    """Return, for each difference, the sum of conj(a_i) a_j M_ij over its pairs in all blocks.

    Parameters
    ----------
    real, imag : list of ndarray
        Real and imaginary parts of the amplitudes of each block, padded, float64, shape (states, B + 16).
    matrices : list of ndarray
        M of each block, float32, shape (channels, 16 * steps); see :func:`pick`.
    layout : FormLayout
        Layout from :func:`form_layout`.

    Returns
    -------
    ndarray
        Sums for hy = 0 .. my, hx = -mx .. mx, complex128, shape (states, channels, my + 1, 2 mx + 1). The bits depend
        neither on the number of threads nor on the number of states.
    """
    states, channels, my, mx, width = len(real[0]), len(matrices[0]), layout.my, layout.mx, layout.width
    out = np.zeros((2, channels, states, (my + 1) * width))
    worth = sum(p.steps for p in layout.listed) * channels * states > WORTH_A_THREAD
    bounds = layout.shared if worth else layout.whole

    def work(queue: Iterator[int]) -> None:
        for piece in queue:
            for ar, ai, m, p, place, bound in zip(real, imag, matrices, layout.listed, layout.places, bounds, strict=True):
                common = (p.runs, p.groups, bound[piece], bound[piece + 1], place)
                for c in range(0, channels - 1, 2):
                    _form_of_two(ar, ai, m[c], m[c + 1], *common, out[0, c], out[1, c], out[0, c + 1], out[1, c + 1])
                if channels % 2:
                    _form(ar, ai, m[-1], *common, out[0, -1], out[1, -1])

    threads.spread(work, range(len(bounds[0]) - 1), threads=None if worth else 1)
    sums = np.empty((states, channels, my + 1, 2 * mx + 1), np.complex128)
    sums.real, sums.imag = out.reshape(2, channels, states, my + 1, width)[..., : 2 * mx + 1].swapaxes(1, 2)
    return sums


@kernel
def _phases(coefficients, basis, out):
    for state in range(coefficients.shape[0]):
        for b in range(basis.shape[1]):
            out[state, b] = 0.0
        for k in range(basis.shape[0]):
            c = coefficients[state, k]
            if c != 0.0:
                for b in range(basis.shape[1]):
                    out[state, b] += c * basis[k, b]


def phases(coefficients: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return ``coefficients @ basis``, (states, n) by (n, B), float64; the order of sums is the same for any number of states or threads."""
    out = np.empty((len(coefficients), basis.shape[1]))
    _phases(coefficients, basis, out)
    return out
