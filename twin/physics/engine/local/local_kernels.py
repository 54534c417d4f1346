"""Kernels of the local operator.

The kernels process 16 complex numbers at once in SIMD lanes (`simd_complex64`). There is one number for each of 16
neighbouring basis functions, or for each of 16 vectors between lattice positions. The 16 numbers are stored together, real
parts first, and are called a *point* of an array.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from stemtwin.twin.physics.engine.kernels.fft import descend_line
from stemtwin.twin.physics.engine.kernels.jit import inlined, kernel, stepwise_kernel
from stemtwin.twin.physics.engine.kernels.simd_complex64 import ALIGNMENT, LANES, POINT, lanes, load, store, swapped, zeros
from stemtwin.twin.physics.engine.local.basis import ROWS

_FLAGS = ("contract", "nsz")


@intrinsic
def _accumulate(typingctx, total, factors, index, value):  # noqa: ARG001 - numba's signature
    """Return total + conj(f) value, where f has its parts at ``index`` and ``index + LANES`` of a flat float32 array."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[1])(context, builder, args[1]).data
        at = context.cast(builder, args[2], sig.args[2], types.intp)
        vector = ir.VectorType(ir.FloatType(), LANES)
        index = ir.IntType(32)

        def splat(scalar):
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(index, 0))
            return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(index, LANES), [0] * LANES))

        c = splat(builder.load(builder.gep(data, [at])))
        d = splat(builder.load(builder.gep(data, [builder.add(at, ir.Constant(at.type, LANES))])))
        x, y = (builder.extract_value(args[3], i) for i in (0, 1))
        real, imag = (builder.extract_value(args[0], i) for i in (0, 1))
        fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}f32")
        real = builder.call(fused, [d, y, builder.call(fused, [c, x, real])])
        minus = builder.fsub(ir.Constant(vector, None), d, flags=_FLAGS)
        imag = builder.call(fused, [minus, x, builder.call(fused, [c, y, imag])])
        return builder.insert_value(builder.insert_value(args[0], real, 0), imag, 1)

    return lanes(total, factors, index, value), codegen


@intrinsic
def _dot(typingctx, array, index, value):  # noqa: ARG001 - numba's signature
    """Return the sum over lanes of the value times the conjugate of the array's point at ``index``, complex64."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        at = context.cast(builder, args[1], sig.args[1], types.intp)
        vector = ir.VectorType(ir.FloatType(), LANES)

        def part(half):
            pointer = builder.gep(data, [builder.add(at, ir.Constant(at.type, half * LANES))])
            return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=ALIGNMENT)

        def total(terms):
            width = LANES
            while width > 1:
                width //= 2
                low, high = (ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(i * width, (i + 1) * width))) for i in (0, 1))
                undefined = ir.Constant(ir.VectorType(ir.FloatType(), 2 * width), ir.Undefined)
                terms = builder.fadd(builder.shuffle_vector(terms, undefined, low), builder.shuffle_vector(terms, undefined, high))
            return builder.extract_element(terms, ir.Constant(ir.IntType(32), 0))

        c, d = part(0), part(1)
        x, y = (builder.extract_value(args[2], i) for i in (0, 1))
        result = context.make_complex(builder, types.complex64)
        result.real = total(builder.fadd(builder.fmul(c, x, flags=_FLAGS), builder.fmul(d, y, flags=_FLAGS), flags=_FLAGS))
        result.imag = total(builder.fsub(builder.fmul(c, y, flags=_FLAGS), builder.fmul(d, x, flags=_FLAGS), flags=_FLAGS))
        return result._getvalue()

    return types.complex64(array, index, value), codegen


# ---- waves in a window ---------------------------------------------------------------------------------------------------------------


@kernel
def cut_window(transmission, rows, columns, share_y, share_x, out):
    """Copy a window out of the planes, with each transmission t replaced by 1 + share_y share_x (t - 1); negative indices give 1."""
    ny, nx = rows.size, columns.size
    for s in range(transmission.shape[0]):
        for y in range(ny):
            base = (s * ny + y) * nx
            inside = share_y[y] > 0 and rows[y] >= 0
            for x in range(nx):
                if inside and share_x[x] > 0 and columns[x] >= 0:
                    out[base + x] = np.complex64(1) + share_y[y] * share_x[x] * (transmission[s, rows[y], columns[x]] - np.complex64(1))
                else:
                    out[base + x] = np.complex64(1)


@kernel
def copy_window(transmission, rows, columns, out):
    """Copy a window out of the planes; rows and columns, (slices, ...), may differ from plane to plane."""
    slices, ny = rows.shape
    nx = columns.shape[1]
    for s in range(slices):
        for y in range(ny):
            base = (s * ny + y) * nx
            row = transmission[s, rows[s, y]]
            for x in range(nx):
                out[base + x] = row[columns[s, x]]


@kernel
def fill_incident(values, beam_y, beam_x, phase_y, phase_x, points):
    """Write the Fourier coefficients of sixteen functions to ``points``, with real and imaginary parts exchanged.

    Coefficient b of function j is ``values[b] phase_y[beam_y[b], j // 4] phase_x[beam_x[b], j % 4]``. It is element j of
    point b; a point is 16 complex numbers.
    """
    side = phase_x.shape[1]
    for b in range(values.size):
        for j in range(LANES):
            value = values[b] * phase_y[beam_y[b], j // side] * phase_x[beam_x[b], j % side]
            points[b * POINT + j] = value.imag
            points[b * POINT + LANES + j] = value.real


@kernel
def pick_points(wave, columns, starts, picked_places, picked, line, plan, places):
    """Fourier transform columns and copy points from them to ``picked``; a point is 16 complex numbers.

    Points ``starts[c]`` to ``starts[c + 1] - 1`` of ``picked`` are copied from column ``columns[c]``. Point q is copied from
    position ``picked_places[q]`` of the transformed column.
    """
    for c in range(columns.size):
        descend_line(wave, columns[c] * POINT, places, line, plan)
        for q in range(starts[c], starts[c + 1]):
            store(picked, q * POINT, load(line, picked_places[q] * POINT))


@kernel
def subtract_incident(chosen, values, qy, qx, phase_y, phase_x, points):
    """Subtract the unscattered parts of sixteen exit waves from their Fourier coefficients.

    A point of ``points`` holds one coefficient of each wave. The product
    ``values[i] phase_y[qy[i], j // 4] phase_x[qx[i], j % 4]`` is subtracted from the coefficient of wave j in point ``chosen[i]``.
    """
    side = phase_x.shape[1]
    for i in range(chosen.size):
        at = chosen[i] * POINT
        for j in range(LANES):
            value = values[i] * phase_y[qy[i], j // side] * phase_x[qx[i], j % side]
            points[at + j] -= value.real
            points[at + LANES + j] -= value.imag


@kernel
def add_swapped(wave, given, columns, rows, pitch, factor):
    """Add ``factor`` times columns of the batch ``given``, with real and imaginary parts exchanged, to the same columns of ``wave``.

    ``columns`` are the indices of the columns in both batches. Both batches have ``rows`` rows, ``pitch`` points apart. A
    point is 16 complex numbers.
    """
    for y in range(rows):
        for c in range(columns.size):
            at = (y * pitch + columns[c]) * POINT
            store(wave, at, load(wave, at) + factor * swapped(load(given, at)))


@kernel
def widen(small, small_pitch, reads, large, large_pitch, kept, slots, corner_y, corner_x, scale, source, line, small_plans, large_plans, places):
    """Copy sixteen waves from a small window into a larger window, padded with zeros.

    Both batches are in real space along y and in Fourier space along x, like a batch after `multislice_kernels.advance`.
    Each row is transformed to real space, padded and transformed back. Row and column 0 of the small window are row
    ``corner_y`` and column ``corner_x`` of the large one.

    ``reads`` are the positions of a row's coefficients in the small batch. ``slots`` are the positions of the coefficients
    in a row of the large batch, or -1 for coefficients that are left out. ``kept`` is the number of coefficients in a row
    of the large batch; a zero is written after the last of them. ``scale`` normalises the transform to real space.
    ``source`` and ``line`` are scratch memory of a large row.
    """
    small_y, small_x = small_plans
    large_y, large_x = large_plans
    for y in range(large_y.order.size):
        base, row = y * large_pitch * POINT, y - corner_y
        store(large, base + kept * POINT, zeros())
        if row < 0 or row >= small_y.order.size:
            for i in range(kept):
                store(large, base + i * POINT, zeros())
            continue
        for i in range(small_x.order.size):
            store(source, i * POINT, swapped(load(small, row * small_pitch * POINT + reads[i])))
        descend_line(source, 0, places, line, small_x)
        for i in range(large_x.order.size):
            store(source, i * POINT, zeros())
        for i in range(small_x.order.size):
            store(source, (corner_x + small_x.order[i]) * POINT, scale * swapped(load(line, i * POINT)))
        descend_line(source, 0, places, line, large_x)
        for i in range(large_x.order.size):
            slot = slots[large_x.order[i]]
            if slot >= 0:
                store(large, base + slot * POINT, load(line, i * POINT))


@inlined
def _sums(left, shifted, at, total):
    return _accumulate(total, shifted, at, left)


@stepwise_kernel
def overlap(left, right, rows, chosen, weights, qy, qx, ramp_y, ramp_x, shifted, out):
    """Compute the overlaps, sum_i ``weights[i]`` conj(right_ib ramp_i) left_ia, of functions a and b of two patches.

    ``left`` and ``right`` are the exit coefficients of all sixteen functions of each patch. Index i runs over the
    coefficients listed in ``chosen``, a over all functions and b over ``rows``, whose number is a multiple of 8. ramp_i is
    ``ramp_y[qy[i]] ramp_x[qx[i]]``. The overlap of a and b is written to element a of point b of ``out``; a point is 16
    complex numbers.
    """
    count = chosen.size
    for i in range(count):
        factor = weights[i] * ramp_y[qy[i]] * ramp_x[qx[i]]
        store(shifted, i * POINT, factor * load(right, chosen[i] * POINT))
    for first in range(0, rows.size, ROWS):
        b0, b1, b2, b3 = rows[first], rows[first + 1], rows[first + 2], rows[first + 3]
        b4, b5, b6, b7 = rows[first + 4], rows[first + 5], rows[first + 6], rows[first + 7]
        t0, t1, t2, t3, t4, t5, t6, t7 = zeros(), zeros(), zeros(), zeros(), zeros(), zeros(), zeros(), zeros()
        for i in range(count):
            value = load(left, chosen[i] * POINT)
            at = i * POINT
            t0 = _sums(value, shifted, at + b0, t0)
            t1 = _sums(value, shifted, at + b1, t1)
            t2 = _sums(value, shifted, at + b2, t2)
            t3 = _sums(value, shifted, at + b3, t3)
            t4 = _sums(value, shifted, at + b4, t4)
            t5 = _sums(value, shifted, at + b5, t5)
            t6 = _sums(value, shifted, at + b6, t6)
            t7 = _sums(value, shifted, at + b7, t7)
        store(out, b0 * POINT, t0)
        store(out, b1 * POINT, t1)
        store(out, b2 * POINT, t2)
        store(out, b3 * POINT, t3)
        store(out, b4 * POINT, t4)
        store(out, b5 * POINT, t5)
        store(out, b6 * POINT, t6)
        store(out, b7 * POINT, t7)


@kernel
def deposit(sums, entries, y0, x0, side, share, add, overlaps):
    """Write or add the result ``sums`` of :func:`overlap`, times ``share``, to ``overlaps``, shape (batches, ny, nx, 2, 16).

    Each row of ``entries`` contains three indices: a function of a patch, a function of the partner patch, and the
    difference of their lattice positions in ``Basis.steps`` (called slot). The overlap of the two functions is stored at the
    lattice position of the first function. Its batch is ``slot // 16``, and its index in the last axis is ``slot % 16``.
    The first lattice position of the patch is (``y0``, ``x0``), and a patch has ``side`` positions along each axis.
    """
    for e in range(entries.shape[0]):
        a, b, slot = entries[e, 0], entries[e, 1], entries[e, 2]
        y, x = y0 + a // side, x0 + a % side
        batch, lane = slot // LANES, slot % LANES
        for half in range(2):
            value = share * sums[b * POINT + half * LANES + a]
            if add:
                value += overlaps[batch, y, x, half, lane]
            overlaps[batch, y, x, half, lane] = value


# ---- images --------------------------------------------------------------------------------------------------------------------------


@kernel
def transform_rows(points, begin, end, nx, line, places, plan):
    """Replace rows ``begin`` to ``end - 1`` of a lattice of points by their Fourier transforms, with the frequencies in FFT order."""
    for y in range(begin, end):
        base = y * nx * POINT
        descend_line(points, base, places, line, plan)
        for i in range(nx):
            store(points, base + plan.order[i] * POINT, load(line, i * POINT))


@kernel
def transform_columns(points, begin, end, ny, nx, line, places, plan):
    """Replace columns ``begin`` to ``end - 1`` of a lattice of points by their Fourier transforms, with the frequencies in FFT order."""
    for x in range(begin, end):
        descend_line(points, x * POINT, places, line, plan)
        for i in range(ny):
            store(points, (plan.order[i] * nx + x) * POINT, load(line, i * POINT))


@kernel
def pair_rows(real, imag, weights, pitch, origin, jumps, factors, begin, end, slots, wave, wave_pitch, source, line, places, plan):
    """Multiply the conjugated field by the field shifted by each of 16 differences, sum over states, and Fourier transform the rows.

    ``real`` and ``imag``, shape (states, points), are the parts of a field with margins. Element (y, x) of the field is at
    index ``origin + y * pitch + x``. ``jumps``, shape (16,), are the differences in this index. The coefficient of
    column i is written to point ``slots[i] * wave_pitch + y`` of the wave; it is omitted if the slot is negative.
    """
    nx = plan.order.size
    for y in range(begin, end):
        for x in range(nx):
            at = origin + y * pitch + x
            for j in range(POINT):
                source[x * POINT + j] = np.float32(0)
            for n in range(weights.size):
                fr, fi = weights[n] * real[n, at], weights[n] * imag[n, at]
                for j in range(LANES):
                    gr, gi = real[n, at + jumps[j]], imag[n, at + jumps[j]]
                    source[x * POINT + j] += factors[j] * (fr * gr + fi * gi)
                    source[x * POINT + LANES + j] += factors[j] * (fr * gi - fi * gr)
        descend_line(source, 0, places, line, plan)
        for i in range(nx):
            slot = slots[plan.order[i]]
            if slot >= 0:
                store(wave, (slot * wave_pitch + y) * POINT, load(line, i * POINT))


@kernel
def form_columns(wave, begin, end, wave_pitch, overlaps, first, lattice_y, lattice_x, column_of, kept, out, line, places, plan):
    """Compute the contributions of 16 lattice differences to the Fourier coefficients of the images.

    Columns ``begin`` to ``end - 1`` of ``wave``, a result of :func:`pair_rows`, are Fourier transformed. They are multiplied
    by the complex conjugates of ``overlaps``, which are already transformed. The products are summed over the 16
    differences. ``first[c]`` is the index in ``overlaps`` at which channel c begins. Frequency i is written to row
    ``kept[i]`` of ``out`` (channels, rows, columns); it is omitted if ``kept[i]`` is negative.
    """
    for slot in range(begin, end):
        descend_line(wave, slot * wave_pitch * POINT, places, line, plan)
        x = column_of[slot] % lattice_x
        for i in range(plan.order.size):
            row = kept[plan.order[i]]
            if row >= 0:
                value = load(line, i * POINT)
                at = ((plan.order[i] % lattice_y) * lattice_x + x) * POINT
                for channel in range(first.size):
                    out[channel, row, slot] = _dot(overlaps, first[channel] + at, value)


@kernel
def interpolate(fine, y, x, width, shape, out):
    """Interpolate a periodic image (ny, nx) at points (y, x), which are in pixels.

    The kernel along each axis is exp(shape (sqrt(1 - t^2) - 1)), ``width`` pixels wide.
    """
    ny, nx = fine.shape
    half = width / 2
    weights = np.empty((2, width), np.float64)
    for p in range(y.size):
        iy, ix = int(np.ceil(y[p] - half)), int(np.ceil(x[p] - half))
        for i in range(width):
            ty, tx = (iy + i - y[p]) / half, (ix + i - x[p]) / half
            weights[0, i] = np.exp(shape * (np.sqrt(max(0.0, 1 - ty * ty)) - 1))
            weights[1, i] = np.exp(shape * (np.sqrt(max(0.0, 1 - tx * tx)) - 1))
        total = 0.0
        for i in range(width):
            row = (iy + i) % ny
            line = 0.0
            for j in range(width):
                line += weights[1, j] * fine[row, (ix + j) % nx]
            total += weights[0, i] * line
        out[p] = total


@kernel
def multiply(a, b, begin, end, out):
    """Compute rows ``begin`` to ``end - 1`` of the product of two float32 matrices."""
    inner, columns = b.shape
    for i in range(begin, end):
        for j in range(columns):
            out[i, j] = np.float32(0)
        for k in range(0, inner - 3, 4):
            a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            for j in range(columns):
                out[i, j] += a0 * b[k, j] + a1 * b[k + 1, j] + a2 * b[k + 2, j] + a3 * b[k + 3, j]
        for k in range(inner - inner % 4, inner):
            for j in range(columns):
                out[i, j] += a[i, k] * b[k, j]
